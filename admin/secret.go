package admin

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// How long a secret may be. What is shorter could be guessed.
const (
	minSecret = 16
	maxSecret = 1024
)

// ReadSecret returns the secret that is all that a file holds, but for white
// space at either end. The error does not repeat it.
func ReadSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 2*maxSecret))
	if err != nil {
		return "", err
	}
	secret, err := CleanSecret(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// CleanSecret returns a secret without the white space at its ends, if it can be
// one. The error does not repeat it.
func CleanSecret(text string) (string, error) {
	secret := strings.TrimSpace(text)
	if len(secret) < minSecret || len(secret) > maxSecret {
		return "", fmt.Errorf("a token must have %d to %d bytes", minSecret, maxSecret)
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("a token must have nothing but visible characters of ASCII")
	}
	return secret, nil
}
