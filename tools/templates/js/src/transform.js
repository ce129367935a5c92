// Writes each record with its value in capitals. Records without a value are dropped.
import { onRecordWritten } from "@redpanda-data/transform-sdk";

onRecordWritten((event, writer) => {
  const text = event.record.value?.text();
  if (!text) return;
  writer.write({ ...event.record, value: text.toUpperCase() });
});
