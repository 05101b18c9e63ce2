package openapitest

import (
	"slices"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

// exchange is an HTTP request and the error code of its answer; "" is success.
type exchange struct {
	method, path, body string
	code               string

	beyond bool // the document cannot express why the server refuses
	token  string
}

func get(path string) exchange { return exchange{method: "GET", path: path} }

func post(path, body string) exchange { return exchange{method: "POST", path: path, body: body} }

// postBeyond is a POST that the server refuses for a reason that the document cannot express.
func postBeyond(path, body string) exchange {
	x := post(path, body)
	x.beyond = true
	return x
}

// claimBody is the body of a claim. From lists the stores, in JSON.
func claimBody(id, mailbox, from string) string {
	return `{"claims":[` + oneClaim(id, mailbox, from) + `]}`
}

func oneClaim(id, mailbox, from string) string {
	return `{"id":"` + id + `","mailbox":"` + mailbox + `","from":[` + from + `]}`
}

// inBox is the query of operations on the mailbox box of store s.
const inBox = "?store=s&mailbox=" + box

// actionsOn returns a function that makes the path of an action on a request of store s.
func actionsOn(id string) func(action string) string {
	return func(action string) string { return "/requests/" + id + action + "?store=s" }
}

// successes are HTTP requests that the server accepts, in this order. The request id is pending in
// store s at first.
func successes(id string) []exchange {
	of := actionsOn(id)
	return []exchange{
		post("/requests"+inBox+"&key=once", `{"payload":null}`),
		post("/requests"+inBox+"&id="+backends.NewID(box),
			`{"codec":"raw","payload_base64":"AAE="}`),
		post("/requests"+inBox, `{}`),
		get(of("")),
		get(of("") + "&wait=1ms"),
		get("/requests" + inBox),
		get("/requests" + inBox + "&limit=1&after="),
		get("/mailboxes?store=s&limit=10"),
		get("/mailboxes?store=capped"),
		get("/pending" + inBox),
		post("/claim", claimBody("1", box, `{"store":"s","limit":1},{"store":"capped"}`)),
		post("/claim", claimBody("1", "damaged", `{"store":"s"}`)),
		post("/claim", `{"claims":[`+oneClaim("2", box, `{"store":"s"}`)+`,`+
			oneClaim("3", "broken", `{"store":"s"}`)+`]}`),
		post(of("/extend"), `{"attempt":1}`),
		post(of("/extend"), `{"attempt":1,"codec":"json","payload":{"half":true}}`),
		post(of("/cancel"), `{"reason":"no longer needed"}`),
		post(of("/extend"), `{"attempt":1}`),
		get(of("")),
		post("/watch", `{"mailboxes":["`+box+`"],"requests":["`+id+`"],"wait_ms":1}`),
		post(of("/end"), `{"attempt":1,"outcome":"cancelled","reason":"stopped",`+
			`"codec":"raw","payload_base64":"/w=="}`),
		get(of("/events")),
	}
}

// mistakes are HTTP requests that the server refuses as invalid.
func mistakes(id string) []exchange {
	return slices.Concat(mistakesInRequests(id), mistakesInClaims(), mistakesInReports(id))
}

func mistakesInRequests(id string) []exchange {
	of, tooLong := actionsOn(id), strings.Repeat("x", 513)
	return []exchange{
		post("/requests?store=s", `{}`),
		post("/requests?store=s&mailbox="+tooLong, `{}`),
		post("/requests"+inBox+"&id=x", `{}`),
		postBeyond("/requests"+inBox+"&id="+backends.NewID("another"), `{}`),
		post("/requests"+inBox+"&key="+tooLong, `{}`),
		post("/requests"+inBox, `{"codec":"UPPER","payload":1}`),
		post("/requests"+inBox, `{"headers":{"a":1}}`),
		postBeyond("/requests"+inBox, `{"payload":1,"payload_base64":"AA=="}`),
		postBeyond("/requests"+inBox, `{"payload_base64":"?"}`),
		post("/requests"+inBox, `[]`),
		post("/requests"+inBox, `not JSON`),
		post("/requests"+inBox, ""),
		get("/requests" + inBox + "&limit=0"),
		get("/requests" + inBox + "&limit=101"),
		get("/requests" + inBox + "&limit=x"),
		get("/requests?store=s"),
		get("/requests/x?store=s"),
		{method: "GET", path: of("") + "&wait=x", beyond: true},
		get("/requests/x/events?store=s"),
		get("/mailboxes?store=s&limit=1001"),
		get("/pending?store=s"),
	}
}

func mistakesInClaims() []exchange {
	return []exchange{
		post("/claim", claimBody("", "x", `{"store":"s"}`)),
		post("/claim", claimBody("1", "", `{"store":"s"}`)),
		post("/claim", claimBody("1", "x", ``)),
		post("/claim", claimBody("1", "x", `{"store":"s","limit":101}`)),
		post("/claim", claimBody("1", "x", `{"store":"s","limit":-1}`)),
		postBeyond("/claim", claimBody("1", "x", `{"store":"s"},{"store":"s"}`)),
		post("/claim", `{"claims":[]}`),
		post("/watch", `{"wait_ms":-1}`),
		post("/watch", `{"mailboxes":7}`),
	}
}

func mistakesInReports(id string) []exchange {
	of, tooLong := actionsOn(id), strings.Repeat("x", 16<<10+1)
	return []exchange{
		post(of("/extend"), `{"attempt":-1}`),
		post(of("/extend"), `{"attempt":10000}`),
		post(of("/extend"), `{"attempt":1,"after_us":-1}`),
		post(of("/extend"), `{"attempt":1,"after_us":315360000000001}`),
		post(of("/cancel"), `{"outcome":"completed"}`),
		post(of("/cancel"), `{"reason":"`+tooLong+`"}`),
		postBeyond(of("/end"), `{"attempt":1,"outcome":"unheard-of","codec":"json"}`),
		post(of("/end"), `{"attempt":1,"outcome":"failed","codec":"json","reason":"`+tooLong+`"}`),
		post(of("/end"), `{"attempt":1}`),
	}
}
