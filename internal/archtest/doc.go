// Package archtest holds the house rules that a machine can check: who may
// import whom, where SQL and time are, how long files and functions are, that
// packages and exported names say what they are. It is plain Go that reads the
// sources, so it needs no tool. The rules are in arch_test.go; the few
// exceptions are listed there with their reasons.
package archtest
