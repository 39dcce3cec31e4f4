// A terminal or a set of pipes joined to a hijacked connection: what attach, run, start -a and exec do until
// the stream ends.
#pragma once

#include "cli/cli.h"

#include <signal.h>

struct detach_keys {
    unsigned char keys[16];
    size_t count, matched; // matched: how many of them are held back
};
// "ctrl-p,ctrl-q", "a,b", NULL: the default. ERROR_INVALID for what is not a key.
int detach_keys_parse(const char *text, struct detach_keys *ret, struct error *err);
// Pass typed bytes on to out, holding back what may become the sequence; true when it is complete.
bool detach_keys_filter(struct detach_keys *keys, const unsigned char *bytes, size_t n, struct str *out);

struct session {
    struct cli *cli;
    int fd;             // the hijacked connection, owned
    struct str leading; // read ahead from it
    bool is_tty;        // raw stream; else frames with an 8-byte head
    bool sends_stdin;
    bool shows_stdout, shows_stderr;
    bool proxies_signals; // to kill_path, for sessions without a terminal
    struct detach_keys detach;
    char *kill_path;   // "/containers/ID/kill"; NULL: none
    char *resize_path; // "/containers/ID/resize"; NULL: none
    int signal_fd;     // FD_NONE until session_begin
    sigset_t old_mask;
    bool is_raw, is_detached;
};

// Clears *s; fd becomes FD_NONE.
void session_init(struct session *s, struct cli *cli);
// From here on signals are collected, and (is_tty, stdin is a terminal) the terminal is raw. Restored by
// session_done and at exit.
void session_begin(struct session *s);
// Tell the engine the terminal's size, when there is one.
void session_resize(struct session *s);
// Move bytes until the stream ends or the detach keys are typed (is_detached). 0 or an error of the standard
// streams.
int session_run(struct session *s, struct error *err);
// Wait until fd is readable, passing signals on meanwhile.
void session_wait_readable(struct session *s, int fd);
void session_done(struct session *s);

// Is stdin / stdout a terminal?
bool terminal_is(int fd);
// rows and columns of the terminal on stdout (or stdin); false when none.
bool terminal_size(unsigned *rows, unsigned *columns);
