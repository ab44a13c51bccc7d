package novaapi

import (
	"net/http"
	"strings"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/nova"
)

// bootAuth is the token check with the fault points of steps 3 to 5 of a boot
// around it: the request arrives, the token is asked about, the roles are back.
type bootAuth struct{ *authtoken.Middleware }

// Wrap authenticates requests before next.
func (b bootAuth) Wrap(next http.Handler, onError func(http.ResponseWriter, *http.Request, error)) http.Handler {
	after := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := bootPoints(r, "4 after-effect", "5 before-effect", "5 after-effect"); err != nil {
			onError(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
	checked := b.Middleware.Wrap(after, onError)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := bootPoints(r, "3 before-effect", "3 after-effect", "4 before-effect"); err != nil {
			onError(w, r, err)
			return
		}
		checked.ServeHTTP(w, r)
	})
}

func bootPoints(r *http.Request, points ...string) error {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/servers") {
		return nil
	}
	for _, p := range points {
		n, moment, _ := strings.Cut(p, " ")
		if err := nova.BootPoint(r.Context(), int(n[0]-'0'), moment); err != nil {
			return err
		}
	}
	return nil
}
