// A workload as go-spiffe's users write it: it takes its identity, its trust and its tokens from the Workload API at
// SPIFFE_ENDPOINT_SOCKET, talks mTLS to itself on new connections all the time, and says what it saw, one JSON
// document a line. SIGTERM ends it, with the totals as the last line.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	audience         = "spiffe://foreign.test/audience"
	handshakePause   = 50 * time.Millisecond
	handshakeTimeout = 10 * time.Second
	tokenPause       = 250 * time.Millisecond
)

type report struct {
	mutex   sync.Mutex
	encoder *json.Encoder
	totals  totals
}

type totals struct {
	Handshakes int      `json:"handshakes"`
	Tokens     int      `json:"tokens"`
	Serials    []string `json:"serials"`
	Roots      []string `json:"roots"`
	KeyIDs     []string `json:"key_ids"`
	Federated  []string `json:"federated"`
	Failures   []string `json:"failures"`
}

func (r *report) say(kind string, what any) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_ = r.encoder.Encode(map[string]any{kind: what})
}

func (r *report) count(change func(*totals)) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	change(&r.totals)
}

func (r *report) failed(doing string, err error) {
	r.count(func(t *totals) { t.Failures = append(t.Failures, fmt.Sprintf("%s: %v", doing, err)) })
}

func (r *report) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svid := update.DefaultSVID()
	r.count(func(t *totals) {
		t.Serials = added(t.Serials, svid.Certificates[0].SerialNumber.Text(16))
		for _, bundle := range update.Bundles.Bundles() {
			if bundle.TrustDomain() != svid.ID.TrustDomain() {
				t.Federated = added(t.Federated, bundle.TrustDomain().Name())
				continue
			}
			for _, root := range bundle.X509Authorities() {
				t.Roots = added(t.Roots, root.SerialNumber.Text(16))
			}
		}
	})
	r.say("x509", map[string]any{"id": svid.ID.String(), "hint": svid.Hint, "not_after": svid.Certificates[0].NotAfter})
}

func (r *report) OnX509ContextWatchError(err error) {
	r.say("watch_error", err.Error())
}

func added(all []string, one string) []string {
	for _, each := range all {
		if each == one {
			return all
		}
	}
	return append(all, one)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	r := &report{encoder: json.NewEncoder(os.Stdout)}
	if err := run(ctx, r); err != nil {
		r.failed("start", err)
	}
	r.say("totals", r.totals)
}

func run(ctx context.Context, r *report) error {
	start, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	x509Source, err := workloadapi.NewX509Source(start)
	if err != nil {
		return err
	}
	defer x509Source.Close()
	jwtSource, err := workloadapi.NewJWTSource(start)
	if err != nil {
		return err
	}
	defer jwtSource.Close()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	svid, err := x509Source.GetX509SVID()
	if err != nil {
		return err
	}
	address, err := serve(ctx, x509Source)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	work.Go(func() { _ = client.WatchX509Context(ctx, r) })
	work.Go(func() { handshakes(ctx, r, address, x509Source, svid.ID) })
	work.Go(func() { tokens(ctx, r, jwtSource, client, svid.ID) })
	work.Wait()
	return nil
}

// serve answers each connection with one octet: by then the server has verified its client too.
func serve(ctx context.Context, source *workloadapi.X509Source) (string, error) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeAny()))
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_ = connection.SetDeadline(time.Now().Add(handshakeTimeout))
				_, _ = connection.Write([]byte{1})
			}()
		}
	}()
	return listener.Addr().String(), nil
}

func handshakes(ctx context.Context, r *report, address string, source *workloadapi.X509Source, id spiffeid.ID) {
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(id))
	for every(ctx, handshakePause) {
		if err := handshake(address, config); err != nil {
			r.failed("handshake", err)
		}
		r.count(func(t *totals) { t.Handshakes++ })
	}
}

func handshake(address string, config *tls.Config) error {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: handshakeTimeout}, "tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(handshakeTimeout))
	_, err = io.ReadFull(connection, make([]byte, 1))
	return err
}

// tokens fetches a JWT-SVID and has it verified twice: by go-spiffe with the bundle, and by the Workload API.
func tokens(ctx context.Context, r *report, source *workloadapi.JWTSource, client *workloadapi.Client, id spiffeid.ID) {
	for every(ctx, tokenPause) {
		if err := token(ctx, r, source, client, id); err != nil && ctx.Err() == nil {
			r.failed("token", err)
		}
	}
}

func token(ctx context.Context, r *report, source *workloadapi.JWTSource, client *workloadapi.Client, id spiffeid.ID) error {
	svid, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience, Subject: id})
	if err != nil {
		return err
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{audience}); err != nil {
		return err
	}
	if _, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience); err != nil {
		return err
	}
	bundle, err := source.GetJWTBundleForTrustDomain(id.TrustDomain())
	if err != nil {
		return err
	}
	r.count(func(t *totals) {
		t.Tokens++
		for keyID := range bundle.JWTAuthorities() {
			t.KeyIDs = added(t.KeyIDs, keyID)
		}
	})
	return nil
}

func every(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
