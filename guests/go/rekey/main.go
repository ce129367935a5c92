// Rekey gives JSON records another key and sends them to one of two topics. Environment variables say how, all of
// them optional:
//
//   - REKEY_FIELD: the value of this top-level field becomes the key, a string without its quotes, anything else as
//     it is written. A record without the field keeps its key.
//   - ROUTE_FIELD and ROUTE_MIN: records in which this top-level field is a number of at least ROUTE_MIN (default 0)
//     go to the second output topic, all others to the first.
//
// A value that is not a JSON object, or null, passes to the first output topic as it is.
package main

import (
	"encoding/json"
	"os"
	"strconv"

	"guests/transform"
)

type rules struct {
	rekeyField string
	routeField string
	routeMin   float64
	routeTopic string
}

func main() {
	r := rules{
		rekeyField: os.Getenv("REKEY_FIELD"),
		routeField: os.Getenv("ROUTE_FIELD"),
		routeTopic: os.Getenv("REDPANDA_OUTPUT_TOPIC_1"),
	}
	if text := os.Getenv("ROUTE_MIN"); text != "" {
		min, err := strconv.ParseFloat(text, 64)
		if err != nil {
			panic("ROUTE_MIN must be a number")
		}
		r.routeMin = min
	}
	if r.routeField != "" && r.routeTopic == "" {
		panic("ROUTE_FIELD needs a second output topic")
	}
	transform.OnRecordWritten(r.apply)
}

func (r *rules) apply(record *transform.Record, writer *transform.Writer) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(record.Value, &object); err != nil {
		return writer.Write(record)
	}
	if field, ok := object[r.rekeyField]; ok && r.rekeyField != "" {
		record.Key = text(field)
	}
	if r.isHigh(object) {
		return writer.WriteTo(r.routeTopic, record)
	}
	return writer.Write(record)
}

// text is a JSON string's contents, or any other JSON value as it is written.
func text(field json.RawMessage) []byte {
	var contents string
	if field[0] == '"' && json.Unmarshal(field, &contents) == nil {
		return []byte(contents)
	}
	return field
}

func (r *rules) isHigh(object map[string]json.RawMessage) bool {
	if r.routeField == "" {
		return false
	}
	var number *float64 // stays nil for JSON's null
	err := json.Unmarshal(object[r.routeField], &number)
	return err == nil && number != nil && *number >= r.routeMin
}
