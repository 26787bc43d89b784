/* Writes frames: header padded to 64, tensors by falling element size, _pad, CRC. Small frames are gathered until a flush. */
#ifndef MOE_STREAM_WRITER_H
#define MOE_STREAM_WRITER_H

#include "stream/frame.h"

struct moe_writer;

/* Writes to a descriptor that stays the caller's. Enlarges the pipe behind it, if it is one. */
enum moe_err moe_writer_new(struct moe_writer **out, int fd, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_writer_free(struct moe_writer *w);

/* Where the bytes go, for messages (borrowed); "standard output" until it is said. */
void moe_writer_name(struct moe_writer *w, const char *name);

/* Appends the frame; its tensors are read before this returns. */
enum moe_err moe_writer_put(struct moe_writer *w, const struct moe_frame *f, struct moe_diag *d) MOE_CHECK_RESULT;

/* Hands everything to the operating system. */
enum moe_err moe_writer_flush(struct moe_writer *w, struct moe_diag *d) MOE_CHECK_RESULT;

/* Waits until `input` can be read. When nobody reads the output any more, this ends as a write would: by SIGPIPE, or, where that is ignored,
 * with MOE_EIO. So the end of a program travels up a pipeline whose programs all wait. */
enum moe_err moe_writer_wait(const struct moe_writer *w, int input, struct moe_diag *d) MOE_CHECK_RESULT;

/* For a writer on a descriptor that must not block: formats the frame behind what is waiting in *buf (n bytes of cap, to be freed). */
enum moe_err moe_frame_format(const struct moe_frame *f, uint8_t **buf, size_t *n, size_t *cap, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
