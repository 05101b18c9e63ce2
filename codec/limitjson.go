package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// limitJSON returns ErrTooLarge if decoding takes too much memory. It walks only payloads with many
// elements. It leaves all other errors to encoding/json.
func limitJSON(p *plan, data []byte) error {
	elements := 1
	for _, start := range []string{",", "[", "{"} {
		elements += bytes.Count(data, []byte(start))
	}
	if !p.mayExceed(elements, len(data)) {
		return nil
	}
	m := measurer{memory: decodeMemory(len(data))}
	err := m.json(p, json.NewDecoder(bytes.NewReader(data)), 0)
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return nil // encoding/json reports other errors
}

// json measures the next value.
func (m *measurer) json(p *plan, dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if depth > maxReadDepth {
		return errTooDeep
	}
	if p.shape == pointer && token != nil {
		if err := m.reserve(1, p); err != nil {
			return err
		}
		p = p.elem
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	elem := anything
	if p.shape == list || p.shape == mapping {
		elem = p.elem
	}
	for n := 0; dec.More(); n++ {
		// A map allocates its entries in groups of 8.
		if p.shape == list || p.shape == mapping && n%8 == 0 {
			if err := m.reserve(1, p); err != nil {
				return err
			}
		}
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			if p.shape == structure {
				elem = p.fieldFor(name.(string))
			}
		}
		if err := m.json(elem, dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// fieldFor returns the plan of the field that encoding/json selects for a name in any letter case.
func (p *plan) fieldFor(name string) *plan {
	if field := p.byName[name]; field != nil {
		return field
	}
	for known, field := range p.byName {
		if strings.EqualFold(known, name) {
			return field
		}
	}
	return anything
}
