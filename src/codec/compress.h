// Compressed streams: gzip over ISA-L, zstd over libzstd. A decoder recognises what it is given by its magic bytes; both
// formats may consist of several members one after another.
#pragma once

#include "base/stream.h"

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD, COMPRESSION_COUNT };

struct decoder;

// Decompress `from` (borrowed until decoder_free). Reads up to six bytes at once to see the format; returns 0, or -errno
// of the source.
int decoder_new(struct reader from, struct decoder **ret);
void decoder_free(struct decoder *decoder); // NULL is fine
void decoder_freep(struct decoder **decoder);
// The plain bytes. Read errors: the source's own; -EBADMSG when the data is corrupt or ends too early (decoder_problem
// then says what is wrong); -EPROTONOSUPPORT for xz and bzip2.
struct reader decoder_reader(struct decoder *decoder);
enum compression decoder_compression(const struct decoder *decoder);
// What was wrong, for people: "gzip: invalid checksum", "unexpected EOF". NULL when nothing was.
const char *decoder_problem(const struct decoder *decoder);

struct encoder;

// Compress into `to` (borrowed until encoder_free). GZIP and ZSTD; NONE passes bytes through.
struct encoder *encoder_new(enum compression compression, struct writer to);
struct writer encoder_writer(struct encoder *encoder);
// Write what is held back and the end mark. 0 or -errno. Nothing may be written afterwards.
int encoder_finish(struct encoder *encoder);
void encoder_free(struct encoder *encoder);
void encoder_freep(struct encoder **encoder);
