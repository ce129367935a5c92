package transform

import "unsafe"

// The host's functions. Pointers are offsets into the module's memory; a negative result is an Error.

// checkABIVersion2 declares the version of the ABI: importing it is what counts.
//
//go:wasmimport redpanda_transform check_abi_version_2
func checkABIVersion2()

// readBatchHeader suspends the guest until there is a batch, and fills in its header. It returns the size in bytes
// of the batch's largest record payload.
//
//go:wasmimport redpanda_transform read_batch_header
func readBatchHeader(
	baseOffset *int64, recordCount *int32, partitionLeaderEpoch *int32, attributes *int16,
	lastOffsetDelta *int32, baseTimestamp *int64, maxTimestamp *int64, producerID *int64,
	producerEpoch *int16, baseSequence *int32) int32

// readNextRecord reads the next record's payload and returns its size. Asking for the next record, or for the next
// batch, tells the host that the previous record is done with.
//
//go:wasmimport redpanda_transform read_next_record
func readNextRecord(attributes *uint8, timestamp *int64, offset *int64, buffer unsafe.Pointer, size int32) int32

// writeRecord writes a payload to the first output topic and returns its size.
//
//go:wasmimport redpanda_transform write_record
func writeRecord(payload unsafe.Pointer, size int32) int32

// writeRecordWithOptions does the same with options: the byte 1, a varint length, and the name of a topic.
//
//go:wasmimport redpanda_transform write_record_with_options
func writeRecordWithOptions(payload unsafe.Pointer, size int32, options unsafe.Pointer, optionsSize int32) int32

type batchHeader struct {
	baseOffset           int64
	recordCount          int32
	partitionLeaderEpoch int32
	attributes           int16
	lastOffsetDelta      int32
	baseTimestamp        int64
	maxTimestamp         int64
	producerID           int64
	producerEpoch        int16
	baseSequence         int32
}

func (b *batchHeader) read() int32 {
	return readBatchHeader(&b.baseOffset, &b.recordCount, &b.partitionLeaderEpoch, &b.attributes,
		&b.lastOffsetDelta, &b.baseTimestamp, &b.maxTimestamp, &b.producerID, &b.producerEpoch, &b.baseSequence)
}

func start(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
