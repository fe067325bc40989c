// Checks a log over HTTP with golang.org/x/mod/sumdb/tlog and note, which know nothing of Carnet: all of its entries
// and tiles, consistency between checkpoints that were kept, and inclusion of random entries; and all of it once more
// with the fsck of transparency-dev/tessera.
//
//	audit URL TOKEN-FILE INCLUSIONS < CHECKPOINTS
//
// CHECKPOINTS is a JSON array of notes, older than the log's own. Prints what was checked as JSON; exits 1 for a fault.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A tile is 8 levels high in C2SP tlog-tiles, and its path does not say so.
const height = 8

type result struct {
	Size        int64 `json:"size"`
	Entries     int64 `json:"entries"`
	Tiles       int   `json:"tiles"`
	Checkpoints int   `json:"checkpoints"`
	Inclusions  int   `json:"inclusions"`
	// By tessera.
	Fsck *checked `json:"fsck"`
}

type log struct {
	url, token string
	tiles      map[string][]byte
}

func main() {
	done, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(done)
}

func run(url, tokenFile, inclusions string) (*result, error) {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	l := &log{url: url, token: strings.TrimSpace(string(token)), tiles: map[string][]byte{}}
	key, err := l.get("vkey", false)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, err
	}
	text, err := l.get("checkpoint", false)
	if err != nil {
		return nil, err
	}
	tree, err := openCheckpoint(string(text), verifier)
	if err != nil {
		return nil, err
	}
	// It checks every tile that it reads against the root.
	reader := tlog.TileHashReader(tree, l)
	done := &result{Size: tree.N}
	if done.Entries, err = l.checkEntries(tree, reader); err != nil {
		return nil, err
	}
	if done.Checkpoints, err = checkConsistency(tree, reader, verifier); err != nil {
		return nil, err
	}
	done.Inclusions, _ = strconv.Atoi(inclusions)
	for range done.Inclusions {
		if err := checkInclusion(tree, reader, rand.Int64N(tree.N)); err != nil {
			return nil, err
		}
	}
	done.Tiles = len(l.tiles)
	done.Fsck, err = l.fsck(verifier)
	return done, err
}

func openCheckpoint(text string, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.SplitN(opened.Text, "\n", 4)
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log: " + opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// checkEntries hashes every entry of every bundle, and compares it with its leaf in the tree.
func (l *log) checkEntries(tree tlog.Tree, reader tlog.HashReader) (int64, error) {
	at := int64(0)
	for bundle := int64(0); at < tree.N; bundle++ {
		width := min(tree.N-at, 1<<height)
		data, err := l.get(pathOf("entries", tlog.Tile{H: height, N: bundle, W: int(width)}), true)
		if err != nil {
			return 0, err
		}
		indexes := make([]int64, width)
		hashes := make([]tlog.Hash, width)
		for i := range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return 0, fmt.Errorf("the bundle of entry %d is cut off", at+i)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			hashes[i] = tlog.RecordHash(data[2:end])
			indexes[i] = tlog.StoredHashIndex(0, at+i)
			data = data[end:]
		}
		if len(data) > 0 {
			return 0, fmt.Errorf("bundle %d goes on after its last entry", bundle)
		}
		leaves, err := reader.ReadHashes(indexes)
		if err != nil {
			return 0, err
		}
		for i := range leaves {
			if leaves[i] != hashes[i] {
				return 0, fmt.Errorf("entry %d is not what the tree has", at+int64(i))
			}
		}
		at += width
	}
	return at, nil
}

func checkConsistency(tree tlog.Tree, reader tlog.HashReader, verifier note.Verifier) (int, error) {
	var notes []string
	if err := json.NewDecoder(os.Stdin).Decode(&notes); err != nil {
		return 0, err
	}
	for _, text := range notes {
		older, err := openCheckpoint(text, verifier)
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveTree(tree.N, older.N, reader)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
			return 0, fmt.Errorf("the checkpoint of %d entries is not how the log begins: %w", older.N, err)
		}
	}
	return len(notes), nil
}

func checkInclusion(tree tlog.Tree, reader tlog.HashReader, index int64) error {
	proof, err := tlog.ProveRecord(tree.N, index, reader)
	if err != nil {
		return err
	}
	leaves, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaves[0])
}

func (l *log) Height() int { return height }

func (l *log) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := pathOf(strconv.Itoa(tile.L), tile)
		if l.tiles[path] == nil {
			got, err := l.get(path, false)
			if err != nil {
				return nil, err
			}
			l.tiles[path] = got
		}
		data[i] = l.tiles[path]
	}
	return data, nil
}

func (l *log) SaveTiles([]tlog.Tile, [][]byte) {}

// pathOf is tile/8/L/N of tlog without the height.
func pathOf(level string, tile tlog.Tile) string {
	tile.L = 0
	return "tile/" + level + strings.TrimPrefix(tile.Path(), "tile/8/0")
}

func (l *log) get(path string, asAuditor bool) ([]byte, error) {
	request, err := http.NewRequest("GET", l.url+"/log/"+path, nil)
	if err != nil {
		return nil, err
	}
	if asAuditor {
		request.Header.Set("Authorization", "Bearer "+l.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != 200 {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return body, err
}
