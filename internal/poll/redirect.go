package poll

import (
	"errors"
	"fmt"
	"net/http"
)

// maxRedirects is how many redirects a client follows.
const maxRedirects = 10

// ErrRedirect is the error for a redirect that a client does not follow.
var ErrRedirect = errors.New("redirect, which is refused")

// Client returns a copy of an HTTP client that follows no redirect to another host or scheme: a
// call carries a token, and perhaps a payload. Nor does it follow a redirect that turns a POST into
// a GET: the answer to the GET would stand for an effect that the POST never had.
func Client(base *http.Client) *http.Client {
	c := *base
	c.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case to.URL.Host != from.Host || to.URL.Scheme != from.Scheme:
			return fmt.Errorf("%w: to another host, %s://%s",
				ErrRedirect, to.URL.Scheme, to.URL.Host)
		case to.Method != via[0].Method:
			return fmt.Errorf("%w: from a %s to a %s", ErrRedirect, via[0].Method, to.Method)
		case base.CheckRedirect != nil:
			return base.CheckRedirect(to, via)
		case len(via) >= maxRedirects:
			return errors.New("the server redirects again and again")
		}
		return nil
	}
	return &c
}
