// Copies every record.
@external("redpanda_transform", "check_abi_version_2")
declare function checkAbiVersion(): void;
@external("redpanda_transform", "read_batch_header")
declare function readBatchHeader(baseOffset: usize, recordCount: usize, leaderEpoch: usize, attributes: usize,
  lastOffsetDelta: usize, baseTimestamp: usize, maxTimestamp: usize, producerId: usize, producerEpoch: usize,
  baseSequence: usize): i32;
@external("redpanda_transform", "read_next_record")
declare function readNextRecord(attributes: usize, timestamp: usize, offset: usize, buffer: usize, size: i32): i32;
@external("redpanda_transform", "write_record")
declare function writeRecord(payload: usize, size: i32): i32;

export function _start(): void {
  checkAbiVersion();
  const head = heap.alloc(80); // what a batch and a record say about themselves
  let buffer: usize = 0;
  let capacity = 0;
  for (;;) {
    const largest = readBatchHeader(head, head + 8, head + 12, head + 16, head + 20, head + 24, head + 32, head + 40,
      head + 48, head + 52);
    if (largest < 0) unreachable();
    if (largest > capacity) {
      if (buffer) heap.free(buffer);
      buffer = heap.alloc(largest);
      capacity = largest;
    }
    for (let left = load<i32>(head + 8); left > 0; left--) {
      const size = readNextRecord(head + 56, head + 64, head + 72, buffer, capacity);
      if (size < 0 || writeRecord(buffer, size) < 0) unreachable();
    }
  }
}
