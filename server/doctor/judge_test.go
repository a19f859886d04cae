package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// expect checks a finding: how grave, what it says, and that there is something to do
// about what is wrong.
func expect(t *testing.T, f Finding, status Status, text string) {
	t.Helper()
	if f.Status != status || !strings.Contains(f.Text, text) {
		t.Errorf("got %s %q, want %s %q", f.Status, f.Text, status, text)
	}
	if wrong := f.Status == Warn || f.Status == Fail; wrong != (f.Do != "") {
		t.Errorf("%s %q: what to do is %q", f.Status, f.Text, f.Do)
	}
	if strings.Contains(f.Text+f.Do, "\n") {
		t.Errorf("more than a line: %q", f.Text)
	}
}

func TestJudgeKind(t *testing.T) {
	expect(t, judgeKind("xfs"), OK, "local (xfs)")
	expect(t, judgeKind("nfs"), Warn, "over a network")
	expect(t, judgeKind("tmpfs"), Warn, "in memory")
	expect(t, judgeKind("overlayfs"), Warn, "a container's own")
}

func TestJudgeSpace(t *testing.T) {
	const gib = 1 << 30
	store := server.DefaultConfig().Store
	store.UnverifiedQuotaBytes = gib
	expect(t, judgeSpace(store, volume{free: gib - 1, total: 100 * gib}, 0), Fail, "deliveries are refused")
	expect(t, judgeSpace(store, volume{free: 2*gib - 1, total: 100 * gib}, 0), Warn, "will soon be refused")
	expect(t, judgeSpace(store, volume{free: 90 * gib, total: 100 * gib}, 0), OK, "90.0 GiB of 100.0 GiB are free, 1.0 GiB of them in reserve; store.retention.max_bytes sets no bound")
	store.Retention.MaxBytes = 50 * gib
	expect(t, judgeSpace(store, volume{free: 90 * gib, total: 100 * gib}, gib), OK, "grows to 51.0 GiB at most")
	expect(t, judgeSpace(store, volume{free: 40 * gib, total: 100 * gib}, gib), Warn, "may grow from 1.0 GiB to 51.0 GiB")
	expect(t, judgeSpace(store, volume{free: 40 * gib, total: 100 * gib}, 52*gib), OK, "")
	store.Pebble.DiskReserve = 45 * gib
	expect(t, judgeSpace(store, volume{free: 40 * gib, total: 100 * gib}, 0), Fail, "45.0 GiB of them in reserve")
}

func TestJudgeSync(t *testing.T) {
	times := func(n int, each, last time.Duration) (list []time.Duration) {
		for range n - 1 {
			list = append(list, each)
		}
		return append(list, last)
	}
	expect(t, judgeSync(times(50, time.Millisecond, 3*time.Millisecond)), OK, "fsync takes 1ms (median), 3ms (p99) of 50")
	expect(t, judgeSync(times(50, 30*time.Millisecond, time.Millisecond)), Warn, "each delivery waits")
	expect(t, judgeSync(times(1, 0, time.Second)), Warn, "1s (p99) of 1")
}

func TestJudgeUnwritable(t *testing.T) {
	for errno, do := range map[syscall.Errno]string{
		syscall.EACCES: "give that user the folder", syscall.EROFS: "mount it for writing", syscall.ENOSPC: "make room", syscall.EIO: "mend the disk",
	} {
		f := judgeUnwritable("/data", &os.PathError{Op: "open", Path: "/data/x", Err: errno})
		expect(t, f, Fail, "a file in /data cannot be written: ")
		if !strings.Contains(f.Do, do) {
			t.Errorf("%v: what to do is %q", errno, f.Do)
		}
	}
}

func TestCheckDisk(t *testing.T) {
	store := server.DefaultConfig().Store
	store.Pebble.Path = filepath.Join(t.TempDir(), "not", "yet")
	for _, f := range checkDisk(store) {
		if f.Status == Fail {
			t.Errorf("%+v", f)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(store.Pebble.Path))); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	store.Pebble.Path = file
	findings := checkDisk(store)
	expect(t, findings[len(findings)-1], Fail, "cannot be written")
	store.Pebble.Path = filepath.Join(file, "within")
	expect(t, checkDisk(store)[0], Warn, "cannot be looked at")
	if n := sizeOf(filepath.Dir(file)); n != 5 {
		t.Errorf("the files have %d bytes", n)
	}
}

func TestCheckFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expectOne(t, checkFolder(file), Fail, "is a file, and no folder")
	path := filepath.Join(t.TempDir(), "store")
	expect(t, checkFolder(path)[0], OK, "does not exist yet")
	for mode, want := range map[os.FileMode]Status{0o700: OK, 0o750: Warn, 0o777: Fail} {
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		expect(t, checkFolder(path)[0], want, path)
	}
	expect(t, checkFolder(string([]byte{0}))[0], Warn, "cannot be looked at")
	me, err := user.Current()
	if err := errors.Join(err, os.Chmod(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	expect(t, checkFolder(path)[0], OK, "belong to the user "+me.Username+", ")
	if os.Geteuid() != 0 {
		t.Skip("only root can look into a folder of somebody else")
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	expect(t, checkFolder(path)[0], OK, "belong to the user 12345, ")
}

func TestCheckSecrets(t *testing.T) {
	expect(t, checkSecrets(nil)[0], Skip, "no secret is configured")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("a secret that is long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := secret.Resolve("file:"+file, nil)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []server.Secret{{Path: "a.b", Secret: s}}
	expect(t, checkSecrets(secrets)[0], OK, "1 secret: long enough")
	for mode, want := range map[os.FileMode]Status{0o644: Warn, 0o666: Fail} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		expect(t, checkSecrets(secrets)[0], want, "a.b: "+file)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect(t, checkSecrets(secrets)[0], Fail, "cannot be looked at")
	expect(t, checkSecrets([]server.Secret{{Path: "a.b", Secret: secret.New("8 bytes!")}})[0], Warn, "a.b has less than 16 bytes")
}

func TestJudgeLimit(t *testing.T) {
	expect(t, judgeLimit(100), Fail, "100 open files")
	expect(t, judgeLimit(1024), Warn, "512 connections for webhooks, 128 for gRPC")
	expect(t, judgeLimit(65536), OK, "8192 for gRPC")
	if f := checkLimits(); len(f) != 1 {
		t.Errorf("%+v", f)
	}
}

func TestJudgeClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	expect(t, judgeClock(now, time.Time{}, "the newest event"), Skip, "nothing yet to compare")
	expect(t, judgeClock(now, now.Add(time.Minute), "the newest event"), OK, "not behind the newest event, 2026-01-01T00:01:00Z")
	expect(t, judgeClock(now, now.Add(time.Hour), "the newest event"), Warn, "the clock is 1h0m0s behind the newest event")
	expect(t, judgeSynchronised(false, errors.ErrUnsupported), Skip, "is not known")
	expect(t, judgeSynchronised(false, nil), Warn, "nothing keeps the clock synchronised")
	expect(t, judgeSynchronised(true, nil), OK, "")
}

func TestCheckConfig(t *testing.T) {
	valid := server.DefaultConfig()
	valid.Providers.Vezgo.Enabled = true
	load := func(c server.Config, err error) Options {
		return Options{Load: func() (server.Config, error) { return c, err }}
	}
	_, findings, ok := checkConfig(load(valid, nil))
	if expect(t, findings[0], OK, "it is valid"); !ok {
		t.Error("a valid configuration is not used")
	}
	if err := valid.Providers.Vezgo.Verification.UnmarshalText([]byte("off")); err != nil {
		t.Fatal(err)
	}
	_, findings, _ = checkConfig(load(valid, nil))
	expect(t, findings[0], Warn, "vezgo: verification is off")
	_, findings, ok = checkConfig(load(valid, errors.Join(errors.New("a: wrong"), errors.New("b: wrong"))))
	if ok || len(findings) != 2 {
		t.Fatalf("%v, %+v", ok, findings)
	}
	expect(t, findings[1], Fail, "b: wrong")

	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chmod(file, 0o664)); err != nil {
		t.Fatal(err)
	}
	o := load(valid, nil)
	o.ConfigPath = file
	_, findings, _ = checkConfig(o)
	expect(t, findings[0], Fail, "its group can change it")

	o.ConfigPath, o.Load = file+"x", load(valid, errors.New("no such file")).Load
	_, findings, _ = checkConfig(o)
	expectOne(t, findings, Fail, "no such file") // said once

	var all []Finding
	Run(t.Context(), load(valid, errors.New("a: wrong")), func(f Finding) { all = append(all, f) })
	if len(all) != 2 || all[0].Check != "config" || all[1].Check != "others" {
		t.Fatalf("%+v", all)
	}
	expect(t, all[1], Skip, "the configuration cannot be loaded, so nothing else was looked at")
}

func TestCheckTLS(t *testing.T) {
	ca := tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	pair, other, expired := ca.Issue(t, year, ""), ca.Issue(t, year, ""), ca.Issue(t, time.Now().Add(-time.Minute), "")
	check := func(certificate, key string) []Finding {
		config := server.DefaultConfig()
		config.TLS.GRPC = tlsfiles.Config{Certificate: certificate, Key: key, MinVersion: "1.3"}
		return checkTLS(config)
	}
	findings := check(pair.Certificate, pair.Key)
	expect(t, findings[0], OK, "a proxy in front of it has to speak TLS")
	expect(t, findings[1], OK, "tls.grpc: the certificate is that of the key, and valid until")
	expect(t, findings[2], OK, "listen.internal_http speaks plain text, on this machine only")
	expect(t, judgePlain("internal_http", ":8081", false), Warn, "listen.internal_http speaks plain text on :8081")
	expect(t, judgePlain("grpc", "127.0.0.1:9090", false), OK, "on this machine only")
	expect(t, check(pair.Certificate, other.Key)[1], Fail, "tls.grpc.certificate: ")
	expect(t, check(expired.Certificate, expired.Key)[1], Fail, "expired at")
	if err := os.Chmod(pair.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, check(pair.Certificate, pair.Key)[1], Warn, "tls.grpc.key: ")
}

// The certificate of a gateway is one of a server and of a client, and its name is that of cluster.advertise.
func TestCheckTLSOfTheCluster(t *testing.T) {
	ca, year := tlstest.NewCA(t), time.Now().AddDate(1, 0, 0)
	check := func(pair tlstest.Pair, change func(*server.Config)) []Finding {
		config := server.DefaultConfig()
		config.Store.CommitLog.Engine = server.CommitLogJetStream
		config.Cluster.Advertise = "gateway-1.internal:9091"
		pair.Secure(&config.Cluster.TLS)
		config.Cluster.TLS.ClientCA = ca.File
		change(&config)
		return checkTLS(config)[3:]
	}
	as := func(*server.Config) {}
	good := ca.IssueFor(t, year, "gateway-1.internal")
	if findings := check(good, as); len(findings) != 2 {
		t.Errorf("%+v", findings)
	}
	expect(t, check(good, as)[0], OK, "cluster.tls: the certificate is that of the key")
	expect(t, check(good, as)[1], OK, "cluster.tls.client_ca: 1 root")
	expect(t, check(ca.IssueFor(t, year, "gateway-2.internal"), as)[2], Fail, "as that of a server: x509: certificate is valid for gateway-2.internal, not gateway-1.internal")
	expect(t, check(ca.IssueForServers(t, year, "gateway-1.internal"), as)[2], Fail, "as that of a client: x509: certificate specifies an incompatible key usage")
	expect(t, check(tlstest.NewCA(t).IssueFor(t, year, "gateway-1.internal"), as)[2], Fail, "signed by unknown authority")
	expect(t, check(good, func(c *server.Config) { c.Cluster.TLS.ClientCA = "" })[1], Fail, "signed by unknown authority") // of the machine
	if expired := check(ca.IssueFor(t, time.Now().Add(-time.Minute), "gateway-1.internal"), as); len(expired) != 2 {
		t.Errorf("it is said twice that it has expired: %+v", expired)
	}
	expect(t, check(tlstest.Pair{Certificate: good.Certificate, Key: "absent"}, as)[1], Fail, "cluster.tls.certificate: ")
	if findings := check(good, func(c *server.Config) { c.Store.CommitLog.Engine = server.CommitLogNone }); len(findings) != 0 {
		t.Errorf("a gateway that is alone: %+v", findings)
	}
}

func TestJudgeCertificate(t *testing.T) {
	ca := tlstest.NewCA(t)
	now := time.Now()
	year := now.AddDate(1, 0, 0)
	trusted := ca.Pool
	c := ca.Issue(t, year, "").Loaded
	expect(t, judgeCertificate("tls.webhooks", c, now, trusted), OK, "valid until")
	expect(t, judgeCertificate("tls.webhooks", c, now, x509.NewCertPool), Warn, "does not trust the certificate")
	expect(t, judgeCertificate("tls.grpc", c, now, nil), OK, "valid until")
	expect(t, judgeCertificate("tls.grpc", c, now.Add(-2*time.Hour), nil), Fail, "valid only from")
	expect(t, judgeCertificate("tls.grpc", c, year.Add(-time.Hour), nil), Warn, "expires at")
	stranger := ca.Issue(t, year, "").Loaded
	chained := tls.Certificate{Certificate: [][]byte{c.Certificate[0], stranger.Certificate[0]}, Leaf: c.Leaf}
	expect(t, judgeCertificate("tls.grpc", chained, now, nil), Warn, "which did not sign it")
	chained.Certificate[1] = []byte("no certificate")
	expect(t, judgeCertificate("tls.grpc", chained, now, nil), Fail, "cannot be read")
	nameless := *c.Leaf
	nameless.DNSNames, nameless.IPAddresses = nil, nil
	expect(t, judgeCertificate("tls.grpc", tls.Certificate{Certificate: c.Certificate, Leaf: &nameless}, now, nil), Warn, "no name by which")
}

func TestJudgeConnection(t *testing.T) {
	now := time.Now()
	with := func(until time.Time) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: until}}}
	}
	expect(t, judgeConnection("http://x", nil, now), Warn, "is not encrypted")
	expect(t, judgeConnection("https://x", with(now.Add(time.Hour)), now), Warn, "expires at")
	expect(t, judgeConnection("https://x", with(now.AddDate(1, 0, 0)), now), OK, "is trusted")
}

func TestJudgeArrival(t *testing.T) {
	locally := func(code int, err error) func() (int, error) { return func() (int, error) { return code, err } }
	never := func() (int, error) { t.Error("it is sent again"); return 0, nil }
	mismatch := arrival{code: 401, reason: "SIGNATURE_MISMATCH"}
	expect(t, judgeArrival(arrival{code: 200, outcome: "stored"}, never), OK, "as it was sent")
	expect(t, judgeArrival(arrival{code: 200, outcome: "probe_not_stored"}, never), Fail, "could not store it")
	expect(t, judgeArrival(arrival{code: 200}, never), Warn, "not as a gateway answers")
	expect(t, judgeArrival(arrival{code: 308}, never), Fail, "a redirect (308)")
	expect(t, judgeArrival(arrival{code: 502}, never), Fail, "(502) is not the webhook listener")
	expect(t, judgeArrival(arrival{code: 404, reason: "CLIENT_UNKNOWN"}, never), Fail, "404 CLIENT_UNKNOWN")
	expect(t, judgeArrival(mismatch, locally(http.StatusOK, nil)), Fail, "the body is changed on the way")
	expect(t, judgeArrival(mismatch, locally(http.StatusUnauthorized, nil)), Fail, "another secret")
	expect(t, judgeArrival(mismatch, locally(0, errors.New("refused"))), Fail, "does not answer here (refused)")
}

func TestJudgeSource(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		source, local, remote string
		trusted               []string
		want                  Status
		text                  string
	}{
		{"198.51.100.1", "198.51.100.1", "198.51.100.9", nil, OK, "sees the address of this machine"},
		{"198.51.100.1", "10.0.0.5", "198.51.100.9", nil, OK, "must be the public address of this machine"},
		{"198.51.100.9", "10.0.0.5", "198.51.100.9", nil, Warn, "takes the proxy, 198.51.100.9, for the source"},
		{"10.0.0.9", "10.0.0.5", "198.51.100.9", nil, Warn, "takes the proxy"},
		{"127.0.0.1", "10.0.0.5", "198.51.100.9", nil, Warn, "takes the proxy"},
		{"", "10.0.0.5", "198.51.100.9", nil, Warn, "does not know where"},
		{forged, "10.0.0.5", "198.51.100.9", nil, Fail, "choose its source address"},
		{forged, "10.0.0.5", "198.51.100.9", []string{"x", "10.0.0.0/8"}, Skip, "10.0.0.5, is in webhooks.trusted_proxies"},
		{forged, "10.0.0.5", "198.51.100.9", []string{"10.0.0.5"}, Skip, "ask from another one"},
	} {
		source, _ := netip.ParseAddr(test.source)
		expect(t, judgeSource(source, arrival{local: addr(test.local), remote: addr(test.remote)}, test.trusted), test.want, test.text)
	}
}

func TestJudgeRoots(t *testing.T) {
	ca := tlstest.NewCA(t) // of ten years
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	twice := append(append([]byte{}, text...), text...)
	for _, test := range []struct {
		text []byte
		now  time.Time
		want Status
		says string
	}{
		{text, now.AddDate(0, 0, -30), Warn, "k: CN=test root is valid only from"},
		{text, now, OK, "k: 1 root of client certificates, valid for more than 14 days"},
		{text, now.AddDate(10, 0, -7), Warn, "k: CN=test root expires at"},
		{text, now.AddDate(11, 0, 0), Warn, "clients with its certificates are refused"},
	} {
		findings := judgeRoots("k", test.text, test.now)
		if expect(t, findings[0], test.want, test.says); len(findings) != 1 {
			t.Errorf("%+v", findings)
		}
	}
	expect(t, judgeRoots("k", twice, now)[0], OK, "k: 2 roots")
	if findings := judgeRoots("k", twice, now.AddDate(11, 0, 0)); len(findings) != 2 {
		t.Errorf("of two roots: %+v", findings)
	}
	if err := os.Chmod(ca.File, 0o666); err != nil {
		t.Fatal(err)
	}
	expect(t, checkClientCA("k", ca.File)[1], Fail, "k: "+ca.File+" has the mode 0666")
	expect(t, checkClientCA("k", ca.File+"x")[0], Fail, "k: open ")
	if findings := checkClientCA("k", ""); findings != nil {
		t.Errorf("without a file: %+v", findings)
	}
}
