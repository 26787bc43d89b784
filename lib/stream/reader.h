/* Reads frames. Checks everything that a frame alone can show: lengths, JSON, layout, CRC, the order head, data, end. */
#ifndef MOE_STREAM_READER_H
#define MOE_STREAM_READER_H

#include "io/source.h"
#include "stream/frame.h"

enum { MOE_FRAME_HEADER_LIMIT = 16 << 20 };

/* Largest payload of a frame; a larger claim is damage. */
#define MOE_FRAME_PAYLOAD_LIMIT ((uint64_t)1 << 36)

struct moe_reader;

/* Takes over `s`, also when it fails. */
enum moe_err moe_reader_new(struct moe_reader **out, struct moe_source *s, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_reader_free(struct moe_reader *r);

/* Accepts frames whose CRC is missing or wrong, for `moe-view --seal` and for programs whose head says moe.crc = none. */
void moe_reader_any_crc(struct moe_reader *r, bool any);

/* Accepts the end of the input without an end frame; for `moe-view --seal --assume-complete` and for a process that answers frame by frame. */
void moe_reader_open_end(struct moe_reader *r);

/* Reads the next frame into *f. MOE_END at the end of the input, after a complete member; the end of the input anywhere else is an error.
 * With wait = false: MOE_AGAIN when no complete frame has arrived yet. */
enum moe_err moe_reader_next(struct moe_reader *r, struct moe_frame *f, bool wait, struct moe_diag *d) MOE_CHECK_RESULT;

/* Where the bytes come from, for messages. */
const char *moe_reader_name(const struct moe_reader *r);

/* Does anything follow the frame that was returned last? Waits for it, or for the end of the input. */
enum moe_err moe_reader_more(struct moe_reader *r, bool *more, struct moe_diag *d) MOE_CHECK_RESULT;

/* The descriptor that is read, -1 for memory; to wait on. */
int moe_reader_descriptor(const struct moe_reader *r);

/* Bytes of the frames returned so far. */
uint64_t moe_reader_offset(const struct moe_reader *r);

#endif
