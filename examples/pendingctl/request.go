package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/tinylib/msgp/msgp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// view is a request in the JSON of the program's output.
type view struct {
	Store        string            `json:"store"`
	ID           string            `json:"id"`
	Mailbox      string            `json:"mailbox"`
	Status       string            `json:"status"`
	Attempt      int               `json:"attempt"`
	Error        string            `json:"error,omitempty"`
	CancelReason string            `json:"cancel_reason,omitempty"` // of a noted cancel
	Headers      map[string]string `json:"headers,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	StartedAt    time.Time         `json:"started_at,omitzero"`
	Deadline     time.Time         `json:"deadline,omitzero"`       // missing after the end
	Codec        string            `json:"codec,omitempty"`         // missing after a cancel
	Size         int               `json:"payload_bytes,omitempty"` // missing if 0 or unknown
	Payload      json.RawMessage   `json:"payload,omitempty"`
}

// view returns the view of a record. A nil payload is left out.
func (s *storeSession) view(rec backends.Record, payload json.RawMessage) view {
	v := view{Store: s.store, ID: rec.ID, Mailbox: rec.Mailbox, Status: rec.Status,
		Attempt: rec.Attempt, Error: rec.Error, CancelReason: rec.CancelReason,
		Headers: rec.Headers, CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
		StartedAt: rec.StartedAt, Deadline: rec.Deadline, Codec: rec.Codec,
		Size: len(rec.Payload), Payload: payload}
	if rec.Ended() {
		v.Deadline = time.Time{} // an ended request has no deadline
	}
	return v
}

// readable returns a payload as JSON. It returns nil for a payload of another codec than json and
// msgpack, and for an invalid payload.
func readable(rec backends.Record) json.RawMessage {
	var text bytes.Buffer
	switch rec.Codec {
	case "json":
		text.Write(rec.Payload)
	case "msgpack":
		if rest, err := msgp.Skip(rec.Payload); err != nil || len(rest) > 0 {
			return nil // it is not a single value
		}
		if _, err := msgp.UnmarshalAsJSON(&text, rec.Payload); err != nil {
			return nil
		}
	}
	if !json.Valid(text.Bytes()) {
		return nil
	}
	return text.Bytes()
}

// says returns a status in the dashboard's words.
func says(rec backends.Record) string {
	switch {
	case rec.CancelledAs != "":
		return "stopping"
	case rec.Status == backends.StatusPending && rec.Attempt > 0:
		return "retrying"
	}
	return rec.Status
}

// id returns the id on the command line.
func (s *storeSession) id() (string, error) {
	if backends.CheckID(s.words[0]) != nil {
		return "", misused("%q is not the id of a request", s.words[0])
	}
	return s.words[0], nil
}

func show(ctx context.Context, s *storeSession) error {
	id, err := s.id()
	if err != nil {
		return err
	}
	ctx, cancel := s.patience(ctx)
	defer cancel()
	rec, err := s.Get(ctx, s.store, id)
	if err != nil {
		return s.explained(ctx, "request "+id, err)
	}
	payload := readable(rec)
	if s.output == outputJSON {
		return s.print(s.view(rec, payload))
	}
	_, err = io.WriteString(s.stdout, s.sheet(rec)+"\n"+payloadText(rec, payload)+"\n")
	return err
}

// moment returns a time for people, in the local time zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// sheet returns all fields of a request except its payload, for people.
func (s *storeSession) sheet(rec backends.Record) string {
	at := func(t time.Time) string {
		if ago := rec.ReadAt.Sub(t); !t.IsZero() && ago >= 0 && !rec.Ended() {
			return fmt.Sprintf("%s (%s ago)", moment(t), human(ago))
		}
		return moment(t)
	}
	rows := [][]string{{"Request", rec.ID}, {"Store", s.store}, {"Mailbox", rec.Mailbox},
		{"Status", says(rec)}, {"Attempt", fmt.Sprint(rec.Attempt)}, {"Created", at(rec.CreatedAt)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("Claimed", at(rec.StartedAt))
	if rec.Ended() {
		add("Ended", at(rec.UpdatedAt))
	} else {
		add("Changed", at(rec.UpdatedAt))
		add("Deadline", fmt.Sprintf("%s (in %s)", moment(rec.Deadline),
			human(rec.Deadline.Sub(rec.ReadAt))))
	}
	add("Error", rec.Error)
	add("Cancel", rec.CancelReason)
	for _, name := range slices.Sorted(maps.Keys(rec.Headers)) {
		add("Header", name+": "+rec.Headers[name])
	}
	return render(rows)
}

// payloadText returns a payload for people.
func payloadText(rec backends.Record, payload json.RawMessage) string {
	title := fmt.Sprintf("Payload, %d bytes in codec %s", len(rec.Payload), rec.Codec)
	var text bytes.Buffer
	if payload == nil || json.Indent(&text, payload, "", "  ") != nil {
		return title + ", which cannot be shown here"
	}
	return title + ":\n" + printable(text.String())
}

// printable replaces characters that could control a terminal or change the direction of the text
// by escapes of JSON, such as \u001b. It keeps line breaks and tabs.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// follow shows each change of a request until it has ended.
func follow(ctx context.Context, s *storeSession) error {
	id, err := s.id()
	if err != nil {
		return err
	}
	ctx, cancel := s.longPatience(ctx)
	defer cancel()
	for r, err := range s.watched.Watch(ctx, id) {
		if err != nil {
			return s.explained(ctx, "request "+id, err)
		}
		if err := s.change(s.last); err != nil {
			return err
		}
		if r.Status.Ended() && r.Status != pending.StatusCompleted {
			return &endedError{&record{ID: id, Status: r.Status, Error: r.Error}}
		}
	}
	return nil
}

// change writes a line about a request after a change.
func (s *storeSession) change(rec backends.Record) error {
	payload := readable(rec)
	if s.output == outputJSON {
		return s.printLine(s.view(rec, payload))
	}
	return s.say("%s", strings.Join(slices.DeleteFunc([]string{
		rec.UpdatedAt.Local().Format(time.TimeOnly), fmt.Sprintf("%-9s", says(rec)),
		fmt.Sprint("attempt ", rec.Attempt), oneLine(rec.CancelReason),
		short(printable(string(payload)))}, func(s string) bool { return s == "" }), "  "))
}

func cancel(ctx context.Context, s *storeSession) error {
	id, err := s.id()
	if err != nil {
		return err
	}
	ctx, stop := s.patience(ctx)
	defer stop()
	err = s.watched.Cancel(ctx, &pending.Request[struct{}]{ID: id}, s.reason)
	if err != nil {
		return s.explained(ctx, "request "+id, err)
	}
	switch {
	case s.output == outputJSON:
		s.last.Codec, s.last.Payload = "", nil // some backends do not return them
		return s.print(s.view(s.last, nil))
	case s.last.Ended():
		return s.say("%s is %s", id, s.last.Status)
	}
	return s.say("the worker of %s is told to stop, and has %s to end it", id,
		human(s.last.Deadline.Sub(s.last.ReadAt)))
}
