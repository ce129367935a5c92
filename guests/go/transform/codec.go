package transform

import "encoding/binary"

// A record payload is: key, value, varint header count, and a key and a value per header. Each key and value is a
// varint length, where -1 means null, and that many bytes. The varints are those of encoding/binary.

func appendRecord(to []byte, record *Record) []byte {
	to = appendSized(to, record.Key)
	to = appendSized(to, record.Value)
	to = binary.AppendVarint(to, int64(len(record.Headers)))
	for _, header := range record.Headers {
		to = binary.AppendVarint(to, int64(len(header.Key))) // a header's key is never null
		to = append(to, header.Key...)
		to = appendSized(to, header.Value)
	}
	return to
}

func appendSized(to, bytes []byte) []byte {
	if bytes == nil {
		return binary.AppendVarint(to, -1)
	}
	return append(binary.AppendVarint(to, int64(len(bytes))), bytes...)
}

// decodeRecord makes the record a view of the payload. It reports whether the payload is well formed.
func decodeRecord(payload []byte, record *Record) bool {
	d := decoder{rest: payload}
	record.Key = d.sized()
	record.Value = d.sized()
	record.Headers = record.Headers[:0]
	for count := d.varint(); count > 0 && !d.failed; count-- {
		record.Headers = append(record.Headers, Header{Key: d.sized(), Value: d.sized()})
	}
	return !d.failed
}

// decoder takes values off the front of its bytes, until one fails.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) varint() int64 {
	number, size := binary.Varint(d.rest)
	if size <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[size:]
	return number
}

func (d *decoder) sized() []byte {
	size := d.varint()
	if d.failed || size < 0 {
		d.failed = d.failed || size < -1
		return nil
	}
	if size > int64(len(d.rest)) {
		d.failed = true
		return nil
	}
	bytes := d.rest[:size:size]
	d.rest = d.rest[size:]
	return bytes
}
