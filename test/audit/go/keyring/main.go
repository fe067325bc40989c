// An ssh-agent with one new Ed25519 key, which is how litewitness gets its key: no file and no other program holds it.
//
//	keyring SOCKET
//
// Prints the key's fingerprint once it listens, and ends when its standard input does.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func main() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		log.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ssh.FingerprintSHA256(public))
	go serve(listener, keyring)
	io.Copy(io.Discard, os.Stdin)
}

func serve(listener net.Listener, keyring agent.Agent) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go agent.ServeAgent(keyring, connection)
	}
}
