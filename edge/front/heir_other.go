//go:build !linux

package front

import (
	"errors"
	"net"
	"os"
)

func shareAddress(*net.UDPConn) (*os.File, error) { return nil, errors.ErrUnsupported }

func divide(*net.UDPConn, uint32, bool) error { return errors.ErrUnsupported }

func emptySocket(*os.File) error { return errors.ErrUnsupported }
