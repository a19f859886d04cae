package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/filemode"
)

// checkFolder looks at who can read the folder of the store.
func checkFolder(path string) []Finding {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return one(Fail, "name a folder in store.pebble.path, or move the file away", "%s is a file, and no folder", path)
	}
	problems, err := filemode.CheckFolder(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return one(OK, "", "%s does not exist yet: serve makes it, for its own user only", path)
	case err != nil:
		do := "run doctor as the user of the gateway"
		if name, ok := filemode.Owner(path); ok {
			do += ": the folder belongs to " + name
		}
		return one(Warn, do, "%s cannot be looked at: %v", path, err)
	}
	var findings []Finding
	for _, p := range problems {
		findings = append(findings, ofMode(p))
	}
	if len(findings) == 0 {
		whose := "one user"
		if name, ok := filemode.Owner(path); ok {
			whose = "the user " + name // root, who looks at it, is perhaps not the one that runs the gateway
		}
		findings = one(OK, "", "%s and all that is in it belong to %s, and nobody else can read them", path, whose)
	}
	return findings
}

// ofMode fails what others can change.
func ofMode(p *filemode.Problem) Finding {
	status := Warn
	if p.Write {
		status = Fail
	}
	return Finding{Status: status, Text: p.Text, Do: p.Do}
}

// goodSecretBytes are beyond all guessing, whoever has chosen them.
const goodSecretBytes = 16

// checkSecrets looks at how long secrets are, and who can read their files.
func checkSecrets(secrets []server.Secret) []Finding {
	if len(secrets) == 0 {
		return one(Skip, "", "no secret is configured")
	}
	var findings []Finding
	for _, s := range secrets {
		if len(s.Reveal()) < goodSecretBytes {
			findings = append(findings, finding(Warn, "choose a longer one, if it is yours to choose",
				"%s has less than %d bytes", s.Path, goodSecretBytes))
		}
		file, ok := s.File()
		if !ok {
			continue
		}
		if f, bad := checkMode(filemode.CheckFile, file); bad {
			f.Text = s.Path + ": " + f.Text
			findings = append(findings, f)
		}
	}
	if len(findings) == 0 {
		findings = one(OK, "", "%s: long enough, and nobody but the owner can read the files", counted(len(secrets), "secret"))
	}
	return findings
}

// checkMode returns what is wrong with who can use a file, and whether anything is.
func checkMode(check func(string) error, file string) (Finding, bool) {
	err := check(file)
	var p *filemode.Problem
	switch {
	case errors.As(err, &p):
		return ofMode(p), true
	case err != nil:
		return finding(Fail, "run doctor as the user of the gateway, or mend the path", "%s cannot be looked at: %v", file, err), true
	}
	return Finding{}, false
}

// Descriptors below which there are too few for anything, and for many clients.
const (
	leastDescriptors = 256
	goodDescriptors  = 8192
)

// checkLimits looks at the limit of open files.
func checkLimits() []Finding {
	descriptors, err := connlimit.Descriptors()
	if err != nil {
		return one(Skip, "", "the limit of open files is not known: %v", err)
	}
	return []Finding{judgeLimit(descriptors)}
}

func judgeLimit(descriptors uint64) Finding {
	shares := connlimit.Divide(descriptors)
	status, do := OK, ""
	switch {
	case descriptors < leastDescriptors:
		status = Fail
	case descriptors < goodDescriptors:
		status = Warn
	}
	if status != OK {
		do = "raise it for the gateway: LimitNOFILE=65536 in its systemd unit, or ulimit -n"
	}
	return finding(status, do, "%d open files, as this shell has it: %d connections for webhooks, %d for gRPC, %d for internal HTTP, %d files of the store",
		descriptors, shares.Webhooks, shares.GRPC, shares.InternalHTTP, shares.StoreFiles)
}

// existing returns a folder, or the nearest above it that exists.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for {
		if _, err = os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return path, err
		}
		path = filepath.Dir(path)
	}
}
