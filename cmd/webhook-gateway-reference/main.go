// Command webhook-gateway-reference writes the reference of the API into a folder, as
// Markdown: a page for each proto file, and one of the errors. `make generate` runs it
// after the OpenAPI documents, which tell it how calls map to HTTP.
//
// It says what the comments in the protos say. protoc-gen-doc would say less: it knows
// neither the HTTP mapping, which stands beside the protos, nor the options of fields, and
// it has had no release for years.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "webhook-gateway-reference:", err)
		defer os.Exit(1) //nolint:forbidigo // main is where the process ends
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("give the folder to write to")
	}
	files, err := readProtos()
	if err != nil {
		return err
	}
	calls, err := httpCalls()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[0], 0o750); err != nil { //nolint:gosec // named by whoever generates
		return err
	}
	for _, file := range files {
		p := &page{calls: calls}
		p.file(file)
		if p.err != nil {
			return fmt.Errorf("%s: %w", file.Path(), p.err)
		}
		text := append(bytes.TrimSpace(p.Bytes()), '\n')
		if err := os.WriteFile(filepath.Join(args[0], pageName(file.Path())), text, 0o644); err != nil { //nolint:gosec // not secret
			return err
		}
	}
	return nil
}

// notForUsers are the protos that gateways talk to each other by: they are no API.
var notForUsers = []string{"proto/webhookgateway/cluster", "proto/webhookgateway/commitlog"}

// readProtos returns the files of the API, with their comments, by their paths.
func readProtos() ([]protoreflect.FileDescriptor, error) {
	args := []string{"tool", "buf", "build", "--as-file-descriptor-set", "-o", "-"}
	for _, folder := range notForUsers {
		args = append(args, "--exclude-path", folder)
	}
	buf := exec.Command("go", args...) //nolint:noctx // ends by itself
	buf.Stderr = os.Stderr
	data, err := buf.Output()
	if err != nil {
		return nil, fmt.Errorf("run buf build: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, fmt.Errorf("read the answer of buf build: %w", err)
	}
	all, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("read the proto files: %w", err)
	}
	var files []protoreflect.FileDescriptor
	all.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(file.Path(), "google/") {
			files = append(files, file)
		}
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files, nil
}

var version = regexp.MustCompile(`^v\d+$`)

// pageName returns the name of the page of a proto file: event-service.md of
// webhookgateway/v1/event_service.proto, vezgo-sync.md of vezgo/v1/sync.proto.
func pageName(file string) string {
	parts := strings.Split(strings.TrimSuffix(file, path.Ext(file)), "/")
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "webhookgateway" || version.MatchString(part) })
	return strings.ReplaceAll(strings.Join(slices.Compact(parts), "-"), "_", "-") + ".md"
}
