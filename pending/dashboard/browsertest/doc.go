// Package browsertest tests the dashboard in Chromium. It is a module of its own, so that nobody
// else needs a browser driver. The tests also make the pictures of the README:
//
//	go test -run TestPictures -pictures ../../../docs/images
package browsertest
