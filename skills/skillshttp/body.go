package skillshttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// decode reads a JSON body of at most limit bytes into v; unknown fields are ignored, and no body is an empty one.
func (c *call) decode(v any, limit int64) error {
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Now().Add(c.config.BodyTimeout)) // not every writer has one
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // what follows may be a wait
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "the body is over the limit of %d bytes", tooLarge.Limit)
	case err != nil:
		return &refusal{http.StatusBadRequest, "the body could not be read", err}
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return refuse(http.StatusBadRequest, "the body is not the JSON that is expected here") // err quotes the body
	}
	return nil
}

// record is a request as clients read it: one flat object of the head's fields and the payload's.
type record struct {
	ID        string         `json:"id"`
	RuntimeID string         `json:"runtime_id"`
	Status    pending.Status `json:"status"`
	Error     string         `json:"error,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`

	payload any
}

func newRecord[T any](r *pending.Request[T]) record {
	return record{ID: r.ID, RuntimeID: r.Mailbox, Status: r.Status, Error: r.Error, CreatedAt: r.CreatedAt,
		UpdatedAt: r.UpdatedAt, payload: withLists(r.Payload)}
}

// withLists gives a payload the empty lists that clients read where storage keeps no difference between an empty
// list and none.
func withLists(payload any) any {
	if i, ok := payload.(skills.Import); ok && i.Skill != nil && i.Skill.Files == nil {
		saved := *i.Skill
		saved.Files = []skills.SkillFile{}
		i.Skill = &saved
		return i
	}
	return payload
}

// encode writes an answer as JSON, without HTML escapes. A record's head and payload become one object.
func encode(answer any) ([]byte, error) {
	rec, isRecord := answer.(record)
	head, err := marshal(answer)
	if err != nil || !isRecord {
		return head, err
	}
	payload, err := marshal(rec.payload)
	if err != nil || string(payload) == "{}" {
		return head, err
	}
	head[len(head)-1] = ','
	return append(head, payload[1:]...), nil
}

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
