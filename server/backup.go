package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

// BackupPath is where the internal HTTP listener makes a backup: POST, and the answer is
// a tar stream.
const BackupPath = "/admin/backup"

// backupStall is how long a client may take for a part of a backup. Until it has all,
// the files of the backup take space.
const backupStall = time.Minute

// backupRetrySeconds is when to ask again for a backup that could not be made.
const backupRetrySeconds = 10

// backup streams a backup of the store. It comes over HTTP since only the gateway can
// take one while it runs, and since who asks need not be where the folder is.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	backup, err := s.store.Backup()
	if err != nil {
		code, reason := http.StatusServiceUnavailable, "LOG_UNAVAILABLE"
		if errors.Is(err, pebblelog.ErrBackupRunning) {
			code, reason = http.StatusConflict, "BACKUP_RUNNING"
		} else {
			s.logger.ErrorContext(r.Context(), "a backup was not made", "error", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", strconv.Itoa(backupRetrySeconds))
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"error": map[string]string{"reason": reason, "message": err.Error()},
		}) // the client is gone
		return
	}
	defer func() {
		if err := backup.Close(); err != nil {
			s.logger.WarnContext(context.WithoutCancel(r.Context()), "what a backup took was not released", "error", err)
		}
	}()
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Cache-Control", "no-store")
	if err := backup.WriteTo(r.Context(), steadyWriter{w, http.NewResponseController(w)}); err != nil {
		s.logger.WarnContext(r.Context(), "a backup was not finished", "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the connection may be used again
	s.logger.InfoContext(r.Context(), "a backup was made", "head", backup.Manifest().Head)
}

// steadyWriter ends a client that takes nothing for too long.
type steadyWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (s steadyWriter) Write(p []byte) (int, error) {
	if err := s.controller.SetWriteDeadline(time.Now().Add(backupStall)); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
