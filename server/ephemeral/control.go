package ephemeral

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// A Fault is what can happen to the readers of the gateway, by its name, as it is reached
// from other languages: POST /faults/NAME of Control.
type Fault struct {
	Name string
	// Help says what it does, in one line.
	Help string
	// Param is the name of its parameter, in the query; empty for none. It must be given
	// unless it is Optional.
	Param    string
	Optional bool

	do func(ctx context.Context, g *Gateway, param string) error
}

// Faults returns all faults.
func Faults() []Fault {
	return []Fault{
		{
			Name: "restart", Help: "end every stream with a goodbye, and start the gateway again with what it has stored",
			do: func(ctx context.Context, g *Gateway, _ string) error { return g.Restart(ctx) },
		},
		{
			Name: "stop", Help: "as restart, but stay away until start",
			do: func(_ context.Context, g *Gateway, _ string) error { return g.Stop() },
		},
		{
			Name: "start", Help: "start the gateway again after stop",
			do: func(ctx context.Context, g *Gateway, _ string) error { return g.Start(ctx) },
		},
		{
			Name: "cut", Help: "break every connection of a reader, without a goodbye",
			do: func(_ context.Context, g *Gateway, _ string) error { g.Cut(); return nil },
		},
		{
			Name: "freeze", Help: "let nothing pass to and from readers, not even heartbeats, until thaw",
			do: func(_ context.Context, g *Gateway, _ string) error { g.Freeze(); return nil },
		},
		{
			Name: "thaw", Help: "end freeze",
			do: func(_ context.Context, g *Gateway, _ string) error { g.Thaw(); return nil },
		},
		{Name: "expire", Help: "have retention pass all events but the newest ones: how many are kept (default 0)", Param: "keep", Optional: true, do: expire},
		{
			Name: "fall-behind", Help: "have every stream that had caught up fall behind with each event, until keep-up",
			do: func(_ context.Context, g *Gateway, _ string) error { return g.FallBehind() },
		},
		{
			Name: "keep-up", Help: "end fall-behind",
			do: func(_ context.Context, g *Gateway, _ string) error { return g.KeepUp() },
		},
		{
			Name: "redeliver", Help: "have the deadlines of what the workers of a subscription hold pass, and the waits for another attempt", Param: "subscription",
			do: func(_ context.Context, g *Gateway, name string) error { return g.Redeliver(name) },
		},
	}
}

func expire(ctx context.Context, g *Gateway, text string) error {
	keep := uint64(0)
	if text != "" {
		var err error
		if keep, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("keep %q is no number of events: give one such as 2, or leave it out for none", text)
		}
	}
	return g.Expire(ctx, keep)
}

// Description tells where the gateway is and how to deliver to it.
type Description struct {
	// Webhooks and InternalHTTP are base URLs without a slash at the end.
	Webhooks     string `json:"webhooks"`
	GRPC         string `json:"grpc"`
	InternalHTTP string `json:"internal_http"`
	// Control is the base URL of the faults.
	Control string `json:"control"`
	// Client is the client that both providers are configured for, and FinicitySecret what
	// its deliveries are signed with.
	Client         string `json:"client"`
	FinicitySecret string `json:"finicity_secret"`
}

// Describe returns the description of a gateway that was made with Config(client), with
// the faults at an address.
func (g *Gateway) Describe(client, control string) Description {
	listen := g.Config().Listen
	return Description{
		Webhooks:     "http://" + server.LocalAddr(listen.Webhooks),
		GRPC:         server.LocalAddr(listen.GRPC),
		InternalHTTP: "http://" + server.LocalAddr(listen.InternalHTTP),
		Control:      "http://" + server.LocalAddr(control),
		Client:       client, FinicitySecret: FinicitySecret,
	}
}

// Control answers GET / with a description as JSON, and POST /faults/NAME by having a
// fault happen: 200 when it has, 400 with a line of text that says why not. It belongs on a
// listener of its own, which stays when the gateway stops.
func (g *Gateway) Control(description Description) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(description) // who asked is gone
	})
	for _, f := range Faults() {
		mux.HandleFunc("POST /faults/"+f.Name, func(w http.ResponseWriter, r *http.Request) {
			if err := g.fault(r, f); err != nil {
				http.Error(w, f.Name+": "+err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{}\n")) // who asked is gone
		})
	}
	return rest.Guard(nil, mux)
}

func (g *Gateway) fault(r *http.Request, f Fault) error {
	query := r.URL.Query()
	for name := range query {
		if name != f.Param {
			return fmt.Errorf("it has no parameter %q", name)
		}
	}
	if f.Param != "" && !f.Optional && query.Get(f.Param) == "" {
		return fmt.Errorf("name the %[1]s: ?%[1]s=NAME", f.Param)
	}
	return f.do(context.WithoutCancel(r.Context()), g, query.Get(f.Param))
}
