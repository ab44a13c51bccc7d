package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func passImage(h *Host, r *Request) (bool, string) {
	if want := r.ImageProps["hw_architecture"]; want != "" && h.Arch != "" && want != h.Arch {
		return false, fmt.Sprintf("the image wants architecture %s, the host has %s", want, h.Arch)
	}
	if want := r.ImageProps["img_hv_type"]; want != "" && h.Type != "fake" &&
		!strings.EqualFold(want, h.Type) && !(want == "kvm" && strings.EqualFold(h.Type, "qemu")) {
		return false, fmt.Sprintf("the image wants hypervisor %s, the host has %s", want, h.Type)
	}
	return true, ""
}

// passCapabilities tests extra specs without a scope's prefix too, as Nova
// does, but only those that the host reports: hw:, os: and resources: specs
// are for others.
func passCapabilities(h *Host, r *Request) (bool, string) {
	for key, want := range r.ExtraSpecs {
		name, scoped := strings.CutPrefix(key, "capabilities:")
		if !scoped {
			continue
		}
		if have, ok := h.Capabilities[name]; !ok || !matchSpec(have, want) {
			return false, fmt.Sprintf("the flavor wants %s %s", key, want)
		}
	}
	return true, ""
}

func passAggregateSpecs(h *Host, r *Request) (bool, string) {
	for key, want := range r.ExtraSpecs {
		name, scoped := strings.CutPrefix(key, "aggregate_instance_extra_specs:")
		if !scoped {
			continue
		}
		fits := slices.ContainsFunc(h.Aggregates, func(a Aggregate) bool {
			have, ok := a.Metadata[name]
			return ok && slices.ContainsFunc(strings.Split(have, ","), func(v string) bool {
				return matchSpec(strings.TrimSpace(v), want)
			})
		})
		if !fits {
			return false, fmt.Sprintf("the flavor wants an aggregate with %s %s", name, want)
		}
	}
	return true, ""
}

// matchSpec compares in Nova's extra specs language: "<op> value", where no
// operator means equal text.
func matchSpec(have, want string) bool {
	words := strings.Fields(want)
	if len(words) == 0 {
		return have == want
	}
	op, rest := words[0], strings.TrimSpace(strings.TrimPrefix(want, words[0]))
	switch op {
	case "=", "==", "!=", ">=", "<=":
		return compareNumbers(op, have, rest)
	case "s==":
		return have == rest
	case "s!=":
		return have != rest
	case "s<":
		return have < rest
	case "s<=":
		return have <= rest
	case "s>":
		return have > rest
	case "s>=":
		return have >= rest
	case "<in>":
		return strings.Contains(have, rest)
	case "<or>":
		return slices.ContainsFunc(strings.Split(rest, "<or>"), func(v string) bool {
			return strings.TrimSpace(v) == have
		})
	case "<all-in>":
		return !slices.ContainsFunc(strings.Fields(rest), func(v string) bool { return !strings.Contains(have, v) })
	}
	return have == want
}

// compareNumbers answers false when either side is no number. "=" means "at
// least", a quirk of Nova that flavors in the field rely on.
func compareNumbers(op, have, want string) bool {
	h, err1 := strconv.ParseFloat(have, 64)
	w, err2 := strconv.ParseFloat(want, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	switch op {
	case "=", ">=":
		return h >= w
	case "==":
		return h == w
	case "!=":
		return h != w
	}
	return h <= w
}
