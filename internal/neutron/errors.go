package neutron

import (
	"strings"

	"github.com/hastack/hastack/internal/fault"
)

// Neutron tells its callers the exception's name beside the text; clients
// branch on it, so it is part of the API and is carried as the fault's code.
const (
	codeBadRequest = "HTTPBadRequest"
	codeInvalid    = "InvalidInput"
	codeConflict   = "Conflict"
	codeOverQuota  = "OverQuota"
	codeRevision   = "RevisionNumberConstraintFailed"
)

func badRequest(code, format string, args ...any) error {
	return fault.New(fault.BadRequest, format, args...).WithCode(code)
}

func invalid(format string, args ...any) error {
	return badRequest(codeInvalid, "Invalid input for operation: "+format+".", args...)
}

func conflict(code, format string, args ...any) error {
	return fault.New(fault.Conflict, format, args...).WithCode(code)
}

func notFound(code, format string, args ...any) error {
	return fault.New(fault.NotFound, format, args...).WithCode(code)
}

func networkNotFound(id string) error {
	return notFound("NetworkNotFound", "Network %s could not be found.", id)
}

func subnetNotFound(id string) error {
	return notFound("SubnetNotFound", "Subnet %s could not be found.", id)
}

func portNotFound(id string) error {
	return notFound("PortNotFound", "Port %s could not be found.", id)
}

func routerNotFound(id string) error {
	return notFound("RouterNotFound", "Router %s could not be found", id)
}

func floatingIPNotFound(id string) error {
	return notFound("FloatingIPNotFound", "Floating IP %s could not be found", id)
}

func securityGroupNotFound(id string) error {
	return notFound("SecurityGroupNotFound", "Security group %s does not exist", id)
}

func securityGroupRuleNotFound(id string) error {
	return notFound("SecurityGroupRuleNotFound", "Security group rule %s does not exist", id)
}

func agentNotFound(id string) error {
	return notFound("AgentNotFound", "Agent %s could not be found.", id)
}

func rbacPolicyNotFound(id string) error {
	return notFound("RbacPolicyNotFound", "RBAC policy of type network with ID %s not found", id)
}

// revisionConflict is the answer to an If-Match that no longer matches.
func revisionConflict(want int64, id string) error {
	return fault.New(fault.PreconditionFailed,
		"Constrained to %d, but current revision of %s is different", want, id).WithCode(codeRevision)
}

// hasControl finds characters that would end a line in a generated file or hide in a log.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 })
}
