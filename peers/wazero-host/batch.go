// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
)

// record is one of the input, as a user of Connect's has it: its value is in the batch's memory.
type record struct {
	key, value []byte // nil is null
	headers    []header
	timestamp  int64
	offset     int64
}

type header struct{ name, value []byte }

// message is what a guest wrote; the memory is its own.
type message struct {
	key, value []byte
	headers    []header
	topic      uint32
}

var errMalformed = errors.New("the batch is malformed")

// takeSized takes a length and as many bytes off the front; -1 is null.
func takeSized(data []byte) (part, rest []byte, err error) {
	size, n := binary.Varint(data)
	if n <= 0 || size < -1 || size > int64(len(data)-n) {
		return nil, nil, errMalformed
	}
	if size == -1 {
		return nil, data[n:], nil
	}
	return data[n : n+int(size)], data[n+int(size):], nil
}

// takePayload takes a record's payload apart. Nothing is copied.
func takePayload(payload []byte) (key, value []byte, headers []header, err error) {
	if key, payload, err = takeSized(payload); err != nil {
		return
	}
	if value, payload, err = takeSized(payload); err != nil {
		return
	}
	count, n := binary.Varint(payload)
	if n <= 0 || count < 0 {
		return nil, nil, nil, errMalformed
	}
	payload = payload[n:]
	for ; count > 0; count-- {
		var h header
		if h.name, payload, err = takeSized(payload); err != nil {
			return
		}
		if h.value, payload, err = takeSized(payload); err != nil {
			return
		}
		headers = append(headers, h)
	}
	if len(payload) != 0 {
		err = errMalformed
	}
	return
}

func varintSize(value int64) int {
	var buffer [binary.MaxVarintLen64]byte
	return binary.PutVarint(buffer[:], value)
}

func sizedSize(part []byte) int {
	if part == nil {
		return 1
	}
	return varintSize(int64(len(part))) + len(part)
}

func payloadSize(key, value []byte, headers []header) int {
	size := sizedSize(key) + sizedSize(value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		size += sizedSize(h.name) + sizedSize(h.value)
	}
	return size
}

// putSized needs the room.
func putSized(out, part []byte) int {
	if part == nil {
		return binary.PutVarint(out, -1)
	}
	n := binary.PutVarint(out, int64(len(part)))
	return n + copy(out[n:], part)
}

func putPayload(out, key, value []byte, headers []header) int {
	n := putSized(out, key)
	n += putSized(out[n:], value)
	n += binary.PutVarint(out[n:], int64(len(headers)))
	for _, h := range headers {
		n += putSized(out[n:], h.name)
		n += putSized(out[n:], h.value)
	}
	return n
}

// readRecords parses an uncompressed batch.
func readRecords(batch []byte) ([]record, error) {
	const headerSize = 61
	if len(batch) < headerSize || binary.BigEndian.Uint16(batch[21:])&7 != 0 {
		return nil, errMalformed
	}
	base := int64(binary.BigEndian.Uint64(batch))
	first := int64(binary.BigEndian.Uint64(batch[27:]))
	records := make([]record, 0, binary.BigEndian.Uint32(batch[57:]))
	for rest := batch[headerSize:]; len(rest) > 0; {
		size, n := binary.Varint(rest)
		if n <= 0 || size < 1 || size > int64(len(rest)-n) {
			return nil, errMalformed
		}
		body := rest[n+1 : n+int(size)] // without the attributes
		rest = rest[n+int(size):]
		timestamp, n := binary.Varint(body)
		if n <= 0 {
			return nil, errMalformed
		}
		body = body[n:]
		offset, n := binary.Varint(body)
		if n <= 0 {
			return nil, errMalformed
		}
		key, value, headers, err := takePayload(body[n:])
		if err != nil {
			return nil, err
		}
		records = append(records, record{key, value, headers, first + timestamp, base + offset})
	}
	return records, nil
}

// canonical is output in the form in which the driver compares it.
func canonical(messages []message) []byte {
	var out []byte
	for _, m := range messages {
		size := payloadSize(m.key, m.value, m.headers)
		out = binary.LittleEndian.AppendUint32(out, m.topic)
		out = binary.LittleEndian.AppendUint32(out, uint32(size))
		payload := make([]byte, size)
		putPayload(payload, m.key, m.value, m.headers)
		out = append(out, payload...)
	}
	return out
}
