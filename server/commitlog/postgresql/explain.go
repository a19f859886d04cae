package postgresql

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE of those who are not let in.
const (
	invalidAuthorization  = "28000"
	invalidPassword       = "28P01"
	invalidCatalogName    = "3D000"
	insufficientPrivilege = "42501"
)

// explain adds to why no server can be used what to do about it, if that is known.
func explain(err error) error {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	if todo := advice(failed); todo != "" {
		return fmt.Errorf("%w: %s", err, todo)
	}
	return err
}

func advice(failed *pgconn.ConnectError) string {
	if answer, ok := errors.AsType[*pgconn.PgError](failed); ok {
		return adviceOn(answer, pgx.Identifier{failed.Config.User}.Sanitize(), pgx.Identifier{failed.Config.Database}.Sanitize())
	}
	var (
		root x509.UnknownAuthorityError
		host x509.HostnameError
	)
	switch {
	case errors.As(failed, &root):
		return "sslrootcert in url must name the file with the root that vouches for the server"
	case errors.As(failed, &host):
		return "use a name in url that is in the server's certificate"
	case errors.Is(failed, syscall.ECONNREFUSED):
		return "start the server, or correct url"
	case insistsOnTLS(failed.Config) && strings.Contains(failed.Error(), "server refused TLS connection"): // it has no type
		return "the server does not speak TLS: set ssl to on for it, or take sslmode out of url if plain text is good enough"
	}
	return ""
}

// adviceOn says what to do about an answer of a server.
func adviceOn(answer *pgconn.PgError, user, database string) string {
	switch answer.Code {
	case invalidPassword:
		return "give the password of the user as password, by env:NAME or file:PATH"
	case invalidAuthorization:
		return fmt.Sprintf("make the user (CREATE ROLE %s LOGIN), or correct url; if it is there, ALTER ROLE %[1]s LOGIN, and pg_hba.conf of the server must let it in", user)
	case invalidCatalogName:
		return fmt.Sprintf("make the database (CREATE DATABASE %s), or correct url", database)
	case insufficientPrivilege:
		return fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", database, user)
	}
	return ""
}

// insistsOnTLS reports whether no way to connect goes without TLS.
func insistsOnTLS(c *pgconn.Config) bool {
	return c.TLSConfig != nil && !slices.ContainsFunc(c.Fallbacks, func(way *pgconn.FallbackConfig) bool { return way.TLSConfig == nil })
}
