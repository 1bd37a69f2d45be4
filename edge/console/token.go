package console

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// tokenBytes is the entropy of a token.
const tokenBytes = 32

// LoadOrCreateToken returns the token in the file at path, after making the file (0600, and its directory 0700) with a
// new random token if it is not there. Two processes that start at once get the same token. A file that others may read
// is an error, as is one whose token is too short.
func LoadOrCreateToken(path string) (string, error) {
	token, err := loadToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := createToken(path); err != nil {
		return "", fmt.Errorf("create admin token %s: %w", path, err)
	}
	return loadToken(path)
}

func loadToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read admin token: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	stat, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("read admin token: %w", err)
	}
	if mode := stat.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("admin token %s is open to others (mode %04o): chmod 600 %s", path, mode, path)
	}
	text := make([]byte, 4096)
	n, err := file.Read(text)
	token := string(bytes.TrimSpace(text[:n]))
	if err != nil && n > 0 {
		return "", fmt.Errorf("read admin token %s: %w", path, err)
	}
	if len(token) < minToken {
		return "", fmt.Errorf("admin token %s has fewer than %d characters: delete the file and start again", path, minToken)
	}
	return token, nil
}

// createToken publishes a whole file under its name in one step, so that nobody reads half a token. The file being
// there by now is no error.
func createToken(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	random := make([]byte, tokenBytes)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".admin.token-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // the name it was published under stays
	_, err = file.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
