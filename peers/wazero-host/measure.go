// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

type options struct {
	work, guest, input, output string
	seconds                    float64
}

func parseOptions(args []string) (options, error) {
	o := options{seconds: 0.25}
	for ; len(args) >= 2; args = args[2:] {
		var err error
		switch args[0] {
		case "--work":
			o.work = args[1] // The guest knows.
		case "--guest":
			o.guest = args[1]
		case "--input":
			o.input = args[1]
		case "--output":
			o.output = args[1]
		case "--seconds":
			o.seconds, err = strconv.ParseFloat(args[1], 64)
		case "--threads":
			if args[1] != "1" {
				err = errors.New("the process's time is measured, so there is one thread only")
			}
		default:
			err = errors.New("unknown option " + args[0])
		}
		if err != nil {
			return o, err
		}
	}
	if len(args) != 0 || o.input == "" {
		return o, errors.New("--input is missing, or a value")
	}
	return o, nil
}

// tally is what came out.
type tally struct{ records, bytes, seen uint64 }

func (t *tally) look(m *message) {
	t.records++
	t.bytes += uint64(payloadSize(m.key, m.value, m.headers))
	if len(m.value) > 0 {
		t.seen += uint64(m.value[0]) + uint64(m.value[len(m.value)-1])
	}
}

type measured struct {
	nsPerBatch, wallNsPerBatch []float64
	batches                    uint64
	out                        tally
}

const clockProcessCPUTime = 2

// now gives nanoseconds of the process's processor time.
func now() float64 {
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return float64(t.Nano())
}

// measureWarm measures after a while.
func measureWarm(batch func(*tally) error, seconds float64) (measured, error) {
	if _, err := measure(batch, min(0.05, seconds/4)); err != nil {
		return measured{}, err
	}
	return measure(batch, seconds)
}

// measure does what contender.hh does.
func measure(batch func(*tally) error, seconds float64) (measured, error) {
	var m measured
	perChunk := 1
	fastest := 1e18
	for begun := time.Now(); time.Since(begun).Seconds() < seconds || len(m.nsPerBatch) == 0; {
		wall, chunk := time.Now(), now()
		for range perChunk {
			if err := batch(&m.out); err != nil {
				return m, err
			}
		}
		ns := (now() - chunk) / float64(perChunk)
		m.nsPerBatch = append(m.nsPerBatch, ns)
		m.wallNsPerBatch = append(m.wallNsPerBatch, float64(time.Since(wall).Nanoseconds())/float64(perChunk))
		m.batches += uint64(perChunk)
		fastest = min(fastest, ns)
		if fit := int(5e5 / fastest); fit > 2*perChunk {
			perChunk = fit
			m.nsPerBatch, m.wallNsPerBatch = nil, nil
		}
	}
	slices.Sort(m.nsPerBatch)
	slices.Sort(m.wallNsPerBatch)
	return m, nil
}

func (m *measured) line(records int) map[string]any {
	n := float64(records)
	return map[string]any{
		"batches":               m.batches,
		"records_in":            records,
		"ns_per_record":         m.nsPerBatch[len(m.nsPerBatch)/2] / n,
		"wall_ns_per_record":    m.wallNsPerBatch[len(m.wallNsPerBatch)/2] / n,
		"fastest_ns_per_record": m.nsPerBatch[0] / n,
		"waits":                 0,
		"output_records":        m.out.records,
		"output_bytes":          m.out.bytes,
	}
}
