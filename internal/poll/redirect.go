package poll

import (
	"errors"
	"fmt"
	"net/http"
)

// maxRedirects is how many redirects a client follows.
const maxRedirects = 10

// ErrRedirect is the error for a redirect to another host.
var ErrRedirect = errors.New("redirect to another host, which is refused")

// Client returns a copy of an HTTP client that follows no redirect to another host or scheme. A
// call carries a token, and perhaps a payload.
func Client(base *http.Client) *http.Client {
	c := *base
	c.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case to.URL.Host != from.Host || to.URL.Scheme != from.Scheme:
			return fmt.Errorf("%w: %s://%s", ErrRedirect, to.URL.Scheme, to.URL.Host)
		case base.CheckRedirect != nil:
			return base.CheckRedirect(to, via)
		case len(via) >= maxRedirects:
			return errors.New("the server redirects again and again")
		}
		return nil
	}
	return &c
}
