// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

const (
	noRecord   = int32(-1)
	malformed  = int32(-2)
	timeout    = 10 * time.Second
	memorySize = 100 << 20
)

var topics = [][]byte{[]byte("first"), []byte("eu")}

// guest is a module whose _start never returns.
type guest struct {
	in   []record
	next int
	out  []message

	done  chan struct{} // the guest asks for a batch
	given chan struct{} // there is one
	ended chan error
}

func newGuest(ctx context.Context, code []byte) (*guest, error) {
	config := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(memorySize >> 16)
	r := wazero.NewRuntimeWithConfig(ctx, config)
	g := &guest{done: make(chan struct{}), given: make(chan struct{}), ended: make(chan error, 1)}
	builder := r.NewHostModuleBuilder("redpanda_transform")
	for name, function := range map[string]any{
		"check_abi_version_1":       func(context.Context, api.Module) {},
		"check_abi_version_2":       func(context.Context, api.Module) {},
		"read_batch_header":         g.readBatchHeader,
		"read_next_record":          g.readNextRecord,
		"write_record":              g.writeRecord,
		"write_record_with_options": g.writeRecordWithOptions,
	} {
		builder = builder.NewFunctionBuilder().WithFunc(function).Export(name)
	}
	if _, err := builder.Instantiate(ctx); err != nil {
		return nil, err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		return nil, err
	}
	instance := wazero.NewModuleConfig().WithStartFunctions().WithArgs("transform").WithName("transform").
		WithEnv("REDPANDA_INPUT_TOPIC", "in")
	for i, topic := range topics {
		instance = instance.WithEnv(fmt.Sprintf("REDPANDA_OUTPUT_TOPIC_%d", i), string(topic))
	}
	module, err := r.InstantiateModule(ctx, compiled, instance)
	if err != nil {
		return nil, err
	}
	start := module.ExportedFunction("_start")
	if start == nil {
		return nil, errors.New("no _start")
	}
	go func() {
		_, err := start.Call(ctx)
		g.ended <- err
	}()
	return g, g.wait()
}

// wait returns when the guest asks for a batch.
func (g *guest) wait() error {
	select {
	case <-g.done:
		return nil
	case err := <-g.ended:
		return fmt.Errorf("the guest ended: %w", err)
	case <-time.After(timeout):
		return errors.New("the guest takes too long")
	}
}

// transform puts a batch through.
func (g *guest) transform(batch []record) ([]message, error) {
	g.in, g.next, g.out = batch, 0, nil
	g.given <- struct{}{}
	err := g.wait()
	return g.out, err
}

// count puts a batch through and looks at each message.
func (g *guest) count(batch []record, t *tally) error {
	out, err := g.transform(batch)
	if err != nil {
		return err
	}
	for i := range out {
		t.look(&out[i])
	}
	return nil
}

func (g *guest) readBatchHeader(_ context.Context, m api.Module, _, count, _, _, _, _, _, _, _, _ uint32) int32 {
	g.done <- struct{}{}
	<-g.given
	if !m.Memory().WriteUint32Le(count, uint32(len(g.in))) {
		return malformed
	}
	longest := 0
	for i := range g.in {
		r := &g.in[i]
		longest = max(longest, payloadSize(r.key, r.value, r.headers))
	}
	return int32(longest)
}

func (g *guest) readNextRecord(_ context.Context, m api.Module, attributes, timestamp, offset, buffer, size uint32) int32 {
	if g.next == len(g.in) {
		return noRecord
	}
	r := &g.in[g.next]
	memory := m.Memory()
	to, ok := memory.Read(buffer, size)
	if !ok || !memory.WriteByte(attributes, 0) || !memory.WriteUint64Le(timestamp, uint64(r.timestamp)) ||
		!memory.WriteUint64Le(offset, uint64(r.offset)) {
		return malformed
	}
	if payloadSize(r.key, r.value, r.headers) > len(to) {
		return malformed
	}
	g.next++
	return int32(putPayload(to, r.key, r.value, r.headers))
}

func (g *guest) write(m api.Module, payload, size, topic uint32) int32 {
	data, ok := m.Memory().Read(payload, size)
	if !ok {
		return malformed
	}
	// One copy, since the guest's memory is used again.
	key, value, headers, err := takePayload(bytes.Clone(data))
	if err != nil {
		return malformed
	}
	g.out = append(g.out, message{key, value, headers, topic})
	return int32(size)
}

func (g *guest) writeRecord(_ context.Context, m api.Module, payload, size uint32) int32 {
	return g.write(m, payload, size, 0)
}

func (g *guest) writeRecordWithOptions(_ context.Context, m api.Module, payload, size, options, optionsSize uint32) int32 {
	data, ok := m.Memory().Read(options, optionsSize)
	if !ok {
		return malformed
	}
	if len(data) == 0 {
		return g.write(m, payload, size, 0)
	}
	name, rest, err := takeSized(data[1:])
	if err != nil || data[0] != 1 || len(rest) != 0 {
		return malformed
	}
	for topic := range topics {
		if bytes.Equal(topics[topic], name) {
			return g.write(m, payload, size, uint32(topic))
		}
	}
	return malformed
}
