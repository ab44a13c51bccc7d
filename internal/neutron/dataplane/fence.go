package dataplane

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// FenceGateways takes every router of this host off its external network: the
// host's end of the gateway's device goes down, so that nothing on the segment
// gets an answer. The next L2 reconcile brings back those that it names.
func (h *Host) FenceGateways() error {
	var errs []error
	for _, ns := range h.Namespaces() {
		if ns.Kind != ownerRouter {
			continue
		}
		errs = append(errs, h.fenceRouter(ns.Owner))
	}
	return errors.Join(errs...)
}

func (h *Host) fenceRouter(routerID string) error {
	ns, err := h.openOwned(RouterNamespace(routerID))
	if err != nil || ns == nil {
		return err
	}
	defer ns.close()
	list, err := ns.nl.LinkList()
	if err != nil {
		return fmt.Errorf("list devices of router %s: %w", routerID, err)
	}
	var errs []error
	for _, l := range list {
		port, ok := strings.CutPrefix(l.Attrs().Name, prefixGateway)
		if !ok {
			continue
		}
		outer, err := h.nl.LinkByName(prefixTap + port)
		if err != nil {
			if !isGone(err) {
				errs = append(errs, err)
			}
			continue
		}
		if outer.Attrs().Flags&net.FlagUp == 0 {
			continue
		}
		if err := h.nl.LinkSetDown(outer); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("take the gateway of router %s down: %w", routerID, err))
		}
	}
	return errors.Join(errs...)
}
