package doctor

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/filemode"
)

// checkAccess looks at who may call the internal ports.
func checkAccess(ctx context.Context, config server.Config, now time.Time) []Finding {
	if !config.Access.Enabled() {
		return judgeOpen(config)
	}
	findings := judgeTokens(config.Access, now)
	findings = append(findings, checkIssuer(ctx, config.Access.OIDC)...)
	if len(config.Access.Certificates) > 0 && config.TLS.GRPC.ClientCA == "" && config.TLS.InternalHTTP.ClientCA == "" {
		findings = append(findings, finding(Warn, "give tls.grpc.client_ca and tls.internal_http.client_ca, or remove access.certificates",
			"access.certificates: no internal listener asks for client certificates, so nobody is known by one"))
	}
	findings = append(findings, judgeOperators(config.Access)...)
	if len(findings) == 0 {
		findings = one(OK, "", "who calls needs credentials; none expires within %d days", soonDays)
	}
	return findings
}

// judgeOpen judges internal ports that nobody needs credentials for. Those that are open
// to other machines by mistake are refused with the configuration.
func judgeOpen(config server.Config) []Finding {
	var findings []Finding
	for _, l := range config.Exposed() {
		findings = append(findings, finding(Warn, "say in access who may call, or let it listen on 127.0.0.1",
			"%s (%s) is insecure: whoever reaches it reads every event, without credentials", l[0], l[1]))
	}
	if len(findings) == 0 {
		findings = one(OK, "", "nobody needs credentials, and only this machine reaches the internal ports")
	}
	return findings
}

func judgeTokens(config access.Config, now time.Time) []Finding {
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(config.Tokens)) {
		expires := config.Tokens[name].Expires
		switch {
		case expires.IsZero():
		case !now.Before(expires.Time):
			findings = append(findings, finding(Warn, "give its caller another (`webhook-gateway token create`), and remove it",
				"access.tokens.%s expired at %s: its caller is refused", name, expires.UTC().Format(time.RFC3339)))
		case now.After(expires.Add(-soon)):
			findings = append(findings, finding(Warn, "add another beside it (`webhook-gateway token create`), and hand that over",
				"access.tokens.%s expires at %s", name, expires.UTC().Format(time.RFC3339)))
		}
	}
	return findings
}

// checkIssuer loads the keys of the issuer as a gateway does.
func checkIssuer(ctx context.Context, config access.OIDC) []Finding {
	if config.Issuer == "" {
		return nil
	}
	if config.JWKSFile != "" {
		if f, bad := checkMode(filemode.CheckWritable, config.JWKSFile); bad {
			f.Text = "access.oidc.jwks_file: " + f.Text
			return []Finding{f}
		}
		n, err := config.CheckKeys(ctx)
		if err != nil {
			return one(Fail, "write the JSON Web Key Set of the issuer there", "access.oidc.jwks_file: %s: %v", config.JWKSFile, err)
		}
		return one(OK, "", "access.oidc.jwks_file has %s", counted(n, "key"))
	}
	n, err := config.CheckKeys(ctx)
	if err != nil {
		return one(Fail, "see to the URL (access.oidc.issuer), DNS, the proxy (HTTPS_PROXY) and the way there; or give its keys in access.oidc.jwks_file",
			"the keys of the issuer cannot be fetched, so its callers are refused: %s", plain(err))
	}
	return one(OK, "", "the issuer %s answers, with %s", config.Issuer, counted(n, "key"))
}

// everybodyClaims are in every token of an issuer for this gateway, with the same value.
var everybodyClaims = []string{"iss", "aud"}

// judgeOperators judges who is an operator that was perhaps not meant to be.
func judgeOperators(config access.Config) []Finding {
	operates := func(grants []string) bool {
		return slices.ContainsFunc(grants, func(name string) bool { return config.Grants[name].Operator })
	}
	callers, operators := 0, 0
	count := func(grants []string) {
		callers++
		if operates(grants) {
			operators++
		}
	}
	for _, token := range config.Tokens {
		count(token.Grants)
	}
	for _, certificate := range config.Certificates {
		count(certificate.Grants)
	}
	var findings []Finding
	for i, identity := range config.OIDC.Identities {
		count(identity.Grants)
		if operates(identity.Grants) && slices.Contains(everybodyClaims, identity.Claim) {
			findings = append(findings, finding(Warn, "give operator to a claim that only operators have, such as a role",
				"access.oidc.identities[%d]: every token of the issuer has %s %s, so everybody it knows is an operator", i, identity.Claim, identity.Value))
		}
	}
	if len(findings) == 0 && callers > 1 && operators == callers {
		findings = one(Warn, "leave operator to a grant of its own: it is for metrics and backups, not for reading",
			"each of the %d callers is an operator, and may copy the whole store", callers)
	}
	return findings
}
