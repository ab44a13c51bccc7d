package config

import "log/slog"

const stars = "********"

// A Secret is text that no log, error or dump may show: every way of printing
// or encoding it gives stars. Reveal is the only way to the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text; call it only where the text leaves for its one use.
func (s Secret) Reveal() string { return s.text }

// Empty tells whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

func (s Secret) String() string   { return stars }
func (s Secret) GoString() string { return stars }

// LogValue keeps the text out of slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(stars) }

// MarshalText keeps the text out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(stars), nil }

// UnmarshalText reads the text from a configuration file.
func (s *Secret) UnmarshalText(b []byte) error {
	s.text = string(b)
	return nil
}
