#include "common/attribute.h"

#include "common/tokenizer.h"
#include "stage/reply.h"

struct attribute {
	struct moe_attributed_report report;
	uint64_t failed;
};

static enum moe_err add_row(void *self, const struct moe_attributed *a, struct moe_diag *d)
{
	struct attribute *t = self;

	return moe_attributed_add(&t->report, a, d);
}

static enum moe_err report_failed(void *self, const char *name, const char *error, struct moe_diag *d)
{
	struct attribute *t = self;

	(void)d;
	(void)name;     /* the message has it */
	t->failed++;
	cli_say("%s", error);
	return MOE_OK;
}

int attribute_main(const char *path, enum moe_attributed_form form)
{
	char fingerprint[33];
	struct moe_pool *pool = cli_pool();
	struct moe_model *m = cli_model();
	struct moe_tokenizer *t = tokenizer_load(fingerprint);
	struct moe_identity id = cli_identity(m, fingerprint);
	struct moe_generation generation = {.spec = m->spec};
	struct attribute self = {.report = {.form = form, .tokenizer = t}};
	struct moe_attribution a = {.model = m, .pool = pool, .any_order = cli.any_order, .row = add_row, .failed = report_failed, .to = &self};
	struct moe_stage stage = moe_attribution_stage(&a);
	struct moe_reader *in = cli_reader(path);
	struct moe_output out = {0};
	struct moe_sink *sink;
	struct moe_diag d = {0};
	enum moe_err err;
	int status;

	cli_check(moe_generation_init(&generation, &d), &d);
	cli_check(moe_attributed_init(&self.report, (size_t)m->spec->n_layers, (size_t)m->spec->router.experts, &d), &d);
	a.suppress = generation.suppress;
	self.report.f = cli_text(cli.output, &sink);
	err = moe_stage_loop(in, &out, &stage, &id, &d);
	if (!err)
		err = moe_attributed_finish(&self.report, &d);
	cli_finish_text(self.report.f, sink, err, &d);
	moe_attributed_free(&self.report);
	moe_attribution_free(&a);
	moe_generation_free(&generation);
	moe_account_free(&out.account);
	moe_reader_free(in);
	moe_tokenizer_free(t);
	moe_model_close(m);
	moe_pool_free(pool);
	status = cli_close_stdout();
	return status ? status : self.failed ? EXIT_NO : EXIT_DONE;
}
