package keystone

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fernet/fernet-go"

	"github.com/hastack/hastack/internal/clock"
)

// A KeyRepository holds Fernet keys under numbers as Keystone does: 0 is
// staged (it will be the next primary and already decrypts), the highest is
// primary and encrypts, the others still decrypt.
type KeyRepository interface {
	// Keys returns the keys by number; it is not empty.
	Keys(ctx context.Context) (map[int]*fernet.Key, error)
	// Rotate makes the staged key primary, stages a new one and drops the
	// oldest beyond the maximum.
	Rotate(ctx context.Context) error
}

// KeyDir is a repository in a directory that Keystone itself could read: one
// file a key, named by its number, mode 0600. Servers of a cluster get the
// directory copied to them.
type KeyDir struct {
	Path string
	// MaxActive is how many keys are kept, the staged one included; at least 2,
	// 0 means 3. (max_active_keys-2) rotations happen before a token that was
	// made just before a rotation cannot be read any more.
	MaxActive int
	// Given says that the keys come from outside, the same on every server: an
	// empty directory is then an error and never filled.
	Given bool
}

// Keys reads the directory; an empty or missing one is filled first.
func (d KeyDir) Keys(_ context.Context) (map[int]*fernet.Key, error) {
	keys, err := d.read()
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if d.Given {
		return nil, fmt.Errorf("key repository: there are no keys in %s: deploy puts them there", d.Path)
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("key repository: %w", err)
	}
	for _, n := range []int{0, 1} {
		// Another process may be filling it too: its key then stays.
		if err := d.writeNew(n); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return d.read()
}

func (d KeyDir) read() (map[int]*fernet.Key, error) {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key repository: %w", err)
	}
	keys := map[int]*fernet.Key{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 0 || !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(d.Path, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("key repository: %w", err)
		}
		k, err := fernet.DecodeKey(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("key repository: key %d is not a Fernet key", n)
		}
		keys[n] = k
	}
	return keys, nil
}

// writeNew makes key n appear whole or not at all, and never over another.
func (d KeyDir) writeNew(n int) error {
	var k fernet.Key
	if err := k.Generate(); err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	tmp, err := os.CreateTemp(d.Path, ".new-*")
	if err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(k.Encode())
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(tmp.Name(), d.file(n))
	}
	if err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	return nil
}

func (d KeyDir) file(n int) string { return filepath.Join(d.Path, strconv.Itoa(n)) }

// Rotate is as in KeyRepository. Only one process at a time may rotate.
func (d KeyDir) Rotate(ctx context.Context) error {
	if d.Given {
		return fmt.Errorf("key repository: the keys in %s come from outside and are rotated there (hastack rotate keys)", d.Path)
	}
	keys, err := d.Keys(ctx)
	if err != nil {
		return err
	}
	numbers := sortedNumbers(keys)
	if numbers[0] != 0 { // a rotation before this one was cut short
		if err := d.writeNew(0); err != nil {
			return err
		}
	}
	if err := os.Rename(d.file(0), d.file(numbers[len(numbers)-1]+1)); err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	if err := d.writeNew(0); err != nil {
		return err
	}
	if keys, err = d.read(); err != nil {
		return err
	}
	keep := d.MaxActive
	if keep == 0 {
		keep = 3
	}
	numbers = sortedNumbers(keys)
	for len(numbers) > max(keep, 2) {
		oldest := numbers[1] // numbers[0] is the staged key
		if err := os.Remove(d.file(oldest)); err != nil {
			return fmt.Errorf("key repository: %w", err)
		}
		numbers = slices.Delete(numbers, 1, 2)
	}
	return nil
}

func sortedNumbers(keys map[int]*fernet.Key) []int {
	numbers := make([]int, 0, len(keys))
	for n := range keys {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// keyRing keeps the keys of a repository in memory and reads them again every
// so often, and at once for a token that no key opens.
type keyRing struct {
	repo  KeyRepository
	clock clock.Clock

	mu   sync.Mutex // guards the rest
	list []*fernet.Key
	read time.Time
}

const (
	keyMaxAge = 10 * time.Second
	// keyMinAge bounds how often forged tokens make us read the repository.
	keyMinAge = time.Second
)

// keys are the primary first, then from new to old, the staged one last.
func (r *keyRing) keys(ctx context.Context, maxAge time.Duration) ([]*fernet.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if age := now.Sub(r.read); len(r.list) > 0 && age >= 0 && age < maxAge {
		return r.list, nil
	}
	keys, err := r.repo.Keys(ctx)
	if err != nil {
		if len(r.list) > 0 { // better old keys than no logins
			return r.list, nil
		}
		return nil, err
	}
	numbers := sortedNumbers(keys)
	slices.Reverse(numbers)
	r.list = r.list[:0:0]
	for _, n := range numbers {
		r.list = append(r.list, keys[n])
	}
	if len(r.list) == 0 {
		return nil, errors.New("key repository is empty")
	}
	r.read = now
	return r.list, nil
}

// seal encrypts msg under the primary key, without the padding that a header
// would have to escape.
func (r *keyRing) seal(ctx context.Context, msg []byte) (string, error) {
	keys, err := r.keys(ctx, keyMaxAge)
	if err != nil {
		return "", err
	}
	tok, err := fernet.EncryptAndSignAtTime(msg, keys[0], r.clock.Now())
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return strings.TrimRight(string(tok), "="), nil
}

func wellSpelled(tok string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(tok)
	return err == nil
}

// open decrypts what seal made; nil if no key opens it. A text that decodes to
// the same bytes by other letters is refused: one token has one spelling.
func (r *keyRing) open(ctx context.Context, tok string) ([]byte, error) {
	tok = strings.TrimRight(tok, "=")
	if !wellSpelled(tok) {
		return nil, nil
	}
	padded := []byte(tok + "===="[:(4-len(tok)%4)%4])
	for _, age := range []time.Duration{keyMaxAge, keyMinAge} {
		keys, err := r.keys(ctx, age)
		if err != nil {
			return nil, err
		}
		if msg := fernet.VerifyAndDecrypt(padded, 0, keys); msg != nil {
			return msg, nil
		}
	}
	return nil, nil
}
