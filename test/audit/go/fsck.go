package main

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

const workers = 4

type checked struct {
	Resources uint64 `json:"resources"`
	Bytes     uint64 `json:"bytes"`
}

// fsck has transparency-dev/tessera read the whole log: from all of its entries it makes every tile and the root anew,
// and compares them with what is served.
func (l *log) fsck(verifier note.Verifier) (*checked, error) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	root, err := url.Parse(l.url + "/log/")
	if err != nil {
		return nil, err
	}
	source, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return nil, err
	}
	source.SetAuthorizationHeader("Bearer " + l.token)
	check := fsck.New(verifier.Name(), verifier, source, leafHashes, fsck.Opts{N: workers})
	if err := check.Check(context.Background()); err != nil {
		return nil, fmt.Errorf("tessera's fsck: %w", err)
	}
	status := check.Status()
	return &checked{Resources: status.ResourcesFetched, Bytes: status.BytesFetched}, nil
}

func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(entries.Entries))
	for i, entry := range entries.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}
