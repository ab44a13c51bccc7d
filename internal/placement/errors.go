package placement

import "github.com/hastack/hastack/internal/fault"

// Codes that clients find in the errors, from microversion 1.23.
const (
	CodeUndefined        = "placement.undefined_code"
	CodeConcurrentUpdate = "placement.concurrent_update"
	CodeDuplicateName    = "placement.duplicate_name"
	CodeInventoryInUse   = "placement.inventory.inuse"
	CodeProviderInUse    = "placement.resource_provider.inuse"
	CodeProviderIsParent = "placement.resource_provider.cannot_delete_parent"
	CodeProviderNotFound = "placement.resource_provider.not_found"
	CodeDuplicateKey     = "placement.query.duplicate_key"
	CodeBadValue         = "placement.query.bad_value"
	CodeMissingValue     = "placement.query.missing_value"
)

func noProvider(uuid string) error {
	return fault.New(fault.NotFound, "no resource provider with uuid %s found", uuid).WithCode(CodeProviderNotFound)
}

func concurrentUpdate(what string) error {
	return fault.New(fault.Conflict, "%s: another process changed it in the meantime, read its generation again", what).
		WithCode(CodeConcurrentUpdate)
}
