/* An output in the making: OUTPUT.part, a file or a folder, and OUTPUT.part.log, which says what it will be and which tensors of it are done. It gets its
 * name when all is there; until then another run goes on with it. */
#ifndef MOE_CONVERT_PARTIAL_H
#define MOE_CONVERT_PARTIAL_H

#include "convert/rewrite.h"

struct moe_partial;

/* A file of the output: its name in the folder (NULL: the output is this file), what stands in front of the data, and its size. */
struct moe_partial_file {
	char *name;
	uint8_t *head;
	size_t head_nbytes;
	uint64_t nbytes;
};

/* Opens or begins the output. `key` identifies source and settings: an OUTPUT.part of another key is refused (MOE_EMATCH), unless it is to be begun anew. A
 * folder that is there already must be empty; a file is replaced at the end. The room on the disk is taken at once. */
enum moe_err moe_partial_open(struct moe_partial **out, const char *path, const struct moe_partial_file *file, size_t n_files, size_t n_tensors, const char *key,
			      bool anew, struct moe_diag *d) MOE_CHECK_RESULT;

/* OUTPUT.part. */
const char *moe_partial_path(const struct moe_partial *p);

/* Another file of a folder, whole. */
enum moe_err moe_partial_put(struct moe_partial *p, const char *name, const void *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes n bytes to a place in a file. */
enum moe_err moe_partial_write(struct moe_partial *p, unsigned file, uint64_t at, const void *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Hash of n bytes of a file, as moe_partial_hash makes of those that were written: chain it from 0. */
uint64_t moe_partial_hash(uint64_t hash, const void *bytes, size_t n);

/* Notes that a tensor is done. */
enum moe_err moe_partial_done(struct moe_partial *p, size_t tensor, uint64_t hash, const struct moe_loss *loss, struct moe_diag *d) MOE_CHECK_RESULT;

/* Did an earlier run note it? Then what it noted. The bytes are to be checked against the hash. */
bool moe_partial_was_done(const struct moe_partial *p, size_t tensor, uint64_t *hash, struct moe_loss *loss);

/* Reads n bytes back. */
enum moe_err moe_partial_read(struct moe_partial *p, unsigned file, uint64_t at, void *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes the output appear under its name. */
enum moe_err moe_partial_commit(struct moe_partial *p, struct moe_diag *d) MOE_CHECK_RESULT;

/* Removes what was begun. */
void moe_partial_discard(struct moe_partial *p);

/* Frees the handle; what is not committed stays for another run. NULL is fine. */
void moe_partial_close(struct moe_partial *p);

#endif
