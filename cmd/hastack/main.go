// Command hastack is a whole OpenStack-compatible cloud in one binary.
package main

import (
	"os"

	"github.com/hastack/hastack/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
