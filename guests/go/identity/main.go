// Identity copies every record to the output.
package main

import "guests/transform"

func main() {
	transform.OnRecordWritten(func(record *transform.Record, writer *transform.Writer) error {
		return writer.Write(record)
	})
}
