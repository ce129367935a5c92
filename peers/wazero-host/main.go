// SPDX-License-Identifier: Apache-2.0

// A contender of `make bench`: the transform ABI's guests on wazero, in the shape of Redpanda Connect's processor
// redpanda_data_transform. `_start` runs in a goroutine of its own for ever, and each batch is handed to it and back over
// channels. Host functions are bound by reflection, and calls end when their context is done. A record's payload is put
// together in the guest's memory. What is written is taken apart and becomes a message of its own.
//
// The arguments and the line of JSON are those of bench/contenders/contender.hh. Go moves goroutines between threads, so
// the time is the process's. That has Go's garbage collector in it.
//
// In its favour: records are parsed outside of the timed loop, no clock is read for a record, a message is a struct with
// its value only, Go gets one processor, for which handing over is cheapest, and fields of a batch's header are not written.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

func main() {
	runtime.GOMAXPROCS(1)
	if err := bench(); err != nil {
		fmt.Fprintln(os.Stderr, "wazero:", err)
		os.Exit(1)
	}
}

func bench() error {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	input, err := os.ReadFile(o.input)
	if err != nil {
		return err
	}
	records, err := readRecords(input)
	if err != nil {
		return err
	}
	code, err := os.ReadFile(o.guest)
	if err != nil {
		return err
	}
	g, err := newGuest(context.Background(), code)
	if err != nil {
		return err
	}
	m, err := measureWarm(func(t *tally) error { return g.count(records, t) }, o.seconds)
	if err != nil {
		return err
	}
	if o.output != "" {
		out, err := g.transform(records)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.output, canonical(out), 0o666); err != nil {
			return err
		}
	}
	line := m.line(len(records))
	line["contender"], line["version"], line["threads"] = "wazero", version(), 1
	return json.NewEncoder(os.Stdout).Encode(line)
}

// version says which wazero and which Go this is.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/tetratelabs/wazero" {
			return module.Version + ", " + info.GoVersion
		}
	}
	return "unknown"
}
