// Package transform is a small SDK for data transforms: it reads records from the host and writes records to it.
package transform

import "strconv"

// Header is a key and a value attached to a record. A nil value means null.
type Header struct {
	Key   []byte
	Value []byte
}

// Record is what a transform reads and writes. A nil key or value means null.
type Record struct {
	Key     []byte
	Value   []byte
	Headers []Header

	// Timestamp (in milliseconds since 1970) and Offset are those of an input record; writing ignores them.
	Timestamp int64
	Offset    int64
}

// Error is an error number of the host's.
type Error int32

// What the host says.
const (
	ErrNoRecord  Error = -1 // there is no record to read, or no batch being transformed
	ErrMalformed Error = -2 // the buffer is too small, or its contents are malformed
	ErrRefused   Error = -3 // the write is not possible, for instance to a topic that is no output
)

func (e Error) Error() string { return "host error " + strconv.Itoa(int(e)) }

// Writer writes records to the output topics.
type Writer struct {
	payload []byte
	options []byte
}

// Write writes a record to the first output topic.
func (w *Writer) Write(record *Record) error {
	w.payload = appendRecord(w.payload[:0], record)
	return check(writeRecord(start(w.payload), int32(len(w.payload))))
}

// WriteTo writes a record to the named output topic.
func (w *Writer) WriteTo(topic string, record *Record) error {
	w.payload = appendRecord(w.payload[:0], record)
	w.options = appendSized(append(w.options[:0], 1), []byte(topic))
	return check(writeRecordWithOptions(
		start(w.payload), int32(len(w.payload)), start(w.options), int32(len(w.options))))
}

func check(result int32) error {
	if result < 0 {
		return Error(result)
	}
	return nil
}

// OnRecordWritten calls the callback for each input record, for ever; an error of the callback's is a panic.
// The record and all its bytes are valid until the callback returns.
func OnRecordWritten(callback func(record *Record, writer *Writer) error) {
	checkABIVersion2()
	var writer Writer
	var record Record
	var buffer []byte
	// Their addresses leave Go, so in the loops they would be allocated each time.
	var batch batchHeader
	var attributes uint8
	for {
		largest := batch.read()
		if largest < 0 {
			panic(Error(largest))
		}
		if int(largest) > len(buffer) {
			buffer = make([]byte, largest)
		}
		for range batch.recordCount {
			size := readNextRecord(
				&attributes, &record.Timestamp, &record.Offset, start(buffer), int32(len(buffer)))
			if size < 0 {
				panic(Error(size))
			}
			if !decodeRecord(buffer[:size], &record) {
				panic(ErrMalformed)
			}
			if err := callback(&record, &writer); err != nil {
				panic(err)
			}
		}
	}
}
