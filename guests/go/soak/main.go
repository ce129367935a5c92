// Soak does a little of everything that a transform may do, for each record: it makes garbage, keeps a map, starts
// goroutines and waits for them, sleeps, sets timers, asks for the time and for random numbers, and now and then logs.
// The output's value is the input's, how often its last three bytes have come so far, and the time in milliseconds.
package main

import (
	"context"
	crypto "crypto/rand"
	"fmt"
	"log"
	"math/rand"
	"strings"
	"sync"
	"time"

	"guests/transform"
)

// LogEvery is how many records have one line of log.
const logEvery = 10_000

var garbage [][]byte

type counts struct {
	lock  sync.Mutex
	words map[string]int
	nonce [8]byte
	seen  int
}

func main() {
	log.SetFlags(0)
	c := &counts{words: map[string]int{}}
	transform.OnRecordWritten(c.apply)
}

func (c *counts) apply(record *transform.Record, writer *transform.Writer) error {
	c.seen++
	if c.seen%64 == 0 {
		garbage = nil
	}
	garbage = append(garbage, make([]byte, 1+rand.Intn(8192)))

	begin := time.Now()
	count := c.count(string(record.Value))
	time.Sleep(time.Millisecond)
	// Past 2157 Go has no monotonic time in a time.Time, and the wall clock is the record's.
	if slept := time.Since(begin); begin.Year() < 2157 && (slept < time.Millisecond || slept > time.Minute) {
		return fmt.Errorf("a millisecond took %v", slept)
	}
	nonce := c.nonce
	if _, err := crypto.Read(c.nonce[:]); err != nil || nonce == c.nonce {
		return fmt.Errorf("the same nonce twice: %v", err)
	}
	if c.seen%logEvery == 1 {
		log.Printf("%d records, %d words", c.seen, len(c.words))
	}
	if c.seen%100 == 0 {
		if err := wait(); err != nil {
			return err
		}
	}
	record.Value = fmt.Appendf(nil, "%s:%d:%d", record.Value, count, begin.UnixMilli())
	return writer.Write(record)
}

// Count counts the last three bytes in a goroutine of its own.
func (c *counts) count(value string) int {
	words := make(chan string)
	go func() {
		words <- strings.Clone(strings.ToUpper(value)[max(0, len(value)-3):])
	}()
	done := make(chan int, 1)
	go func() {
		word := <-words
		c.lock.Lock()
		defer c.lock.Unlock()
		c.words[word]++
		done <- c.words[word]
	}()
	return <-done
}

// Wait waits in the other ways: for a deadline, a ticker and a timer that is stopped.
func wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	never := time.AfterFunc(24*time.Hour, func() { panic("a timer that was stopped") })
	defer never.Stop()
	for ticks := 0; ; ticks++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if ticks < 58 || ticks > 60 {
				return fmt.Errorf("an hour has %d minutes", ticks)
			}
			return nil
		}
	}
}
