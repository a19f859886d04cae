package pebblelog

const restoringName = "restore.incomplete"
