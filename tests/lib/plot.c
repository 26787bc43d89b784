/* Pictures of routing: colours that can be told apart, scales, figures of hand-made sums with known answers, and what the pens write. */
#include <math.h>

#include "lib_data.h"
#include "plot/draw.h"
#include "plot/mixture.h"
#include "plot/plot.h"
#include "plot/table.h"
#include "plot/term.h"
#include "report/chart.h"

/* ---- colours ---- */

enum sight { NORMAL, PROTANOPIA, DEUTERANOPIA, TRITANOPIA, N_SIGHTS };

static void linear(struct moe_rgb c, double l[3])
{
	const double v[3] = {c.r / 255.0, c.g / 255.0, c.b / 255.0};

	for (int i = 0; i < 3; i++)
		l[i] = v[i] <= 0.04045 ? v[i] / 12.92 : pow((v[i] + 0.055) / 1.055, 2.4);
}

/* Machado, Oliveira and Fernandes 2009, severity 1; then Oklab. */
static void seen_as(struct moe_rgb c, enum sight s, double lab[3])
{
	static const double matrix[N_SIGHTS][3][3] = {
		{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
		{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
		{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
	};
	static const double cone[3][3] = {
		{0.4122214708, 0.5363325363, 0.0514459929}, {0.2119034982, 0.6806995451, 0.1073969566}, {0.0883024619, 0.2817188376, 0.6299787005},
	};
	static const double to_lab[3][3] = {
		{0.2104542553, 0.7936177850, -0.0040720468}, {1.9779984951, -2.4285922050, 0.4505937099}, {0.0259040371, 0.7827717662, -0.8086757660},
	};
	double l[3], v[3], m[3];

	linear(c, l);
	for (int i = 0; i < 3; i++)
		v[i] = fmin(fmax(matrix[s][i][0] * l[0] + matrix[s][i][1] * l[1] + matrix[s][i][2] * l[2], 0), 1);
	for (int i = 0; i < 3; i++)
		m[i] = cbrt(cone[i][0] * v[0] + cone[i][1] * v[1] + cone[i][2] * v[2]);
	for (int i = 0; i < 3; i++)
		lab[i] = to_lab[i][0] * m[0] + to_lab[i][1] * m[1] + to_lab[i][2] * m[2];
}

/* A colour of charts. */
static struct moe_rgb chart_colour(size_t number)
{
	unsigned r, g, b;

	assert_int_equal(sscanf(moe_chart_colour(number), "#%2x%2x%2x", &r, &g, &b), 3);
	return (struct moe_rgb){(uint8_t)r, (uint8_t)g, (uint8_t)b};
}

/* The least distance between two of the first n colours, in hundredths of Oklab's lightness. */
static double least_distance(struct moe_rgb (*colour)(size_t), size_t n, enum sight s)
{
	double least = INFINITY, a[3], b[3];

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++) {
			seen_as(colour(i), s, a);
			seen_as(colour(j), s, b);
			least = fmin(least, 100 * hypot(hypot(a[0] - b[0], a[1] - b[1]), a[2] - b[2]));
		}
	return least;
}

static void test_colours_differ(void **state)
{
	static const struct { size_t n; double least; } rows[] = {{8, 10}, {16, 7}, {32, 4.5}, {64, 3}};       /* 2 is what an eye can just tell side by side */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int s = 0; s < N_SIGHTS; s++)
			if (least_distance(moe_expert_colour, rows[i].n, (enum sight)s) < rows[i].least)
				fail_msg("%zu colours, sight %d: %.2f apart, expected %.2f", rows[i].n, s, least_distance(moe_expert_colour, rows[i].n, (enum sight)s), rows[i].least);
	for (int s = 0; s < N_SIGHTS; s++)
		assert_true(least_distance(chart_colour, MOE_CHART_COLOURS, (enum sight)s) >= 14);
	for (size_t e = 0; e < 64; e++) {
		struct moe_rgb a = moe_expert_colour(e), b = moe_expert_colour(e + 64);
		assert_memory_equal(&a, &b, sizeof a);
	}
}

static double contrast(struct moe_rgb a, struct moe_rgb b)
{
	double x[3], y[3], la, lb;

	linear(a, x);
	linear(b, y);
	la = 0.2126 * x[0] + 0.7152 * x[1] + 0.0722 * x[2] + 0.05;
	lb = 0.2126 * y[0] + 0.7152 * y[1] + 0.0722 * y[2] + 0.05;
	return fmax(la, lb) / fmin(la, lb);
}

/* WCAG 2.1 asks for 4.5. */
static void test_numbers_are_legible(void **state)
{
	const struct moe_scale scales[] = {{MOE_SCALE_RATIO, 0}, {MOE_SCALE_SHARE, 1}, {MOE_SCALE_CHANGE, 1}};

	(void)state;
	for (size_t e = 0; e < 64; e++)
		assert_true(contrast(moe_expert_colour(e), moe_ink_on(moe_expert_colour(e))) >= 4.5);
	for (size_t s = 0; s < 3; s++)
		for (int i = 0; i <= 100; i++) {
			struct moe_rgb c = moe_scale_colour(&scales[s], i / 100.0);
			assert_true(contrast(c, moe_ink_on(c)) >= 4.5);
		}
}

static void test_colours_256(void **state)
{
	static const struct { struct moe_rgb c; unsigned want; } rows[] = {
		{{0, 0, 0}, 16}, {{255, 255, 255}, 231}, {{255, 0, 0}, 196}, {{0, 95, 135}, 24}, {{128, 128, 128}, 244}, {{8, 8, 8}, 232}, {{238, 238, 238}, 255},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(moe_colour_256(rows[i].c), rows[i].want);
}

static void test_scales(void **state)
{
	const struct moe_scale ratio = {MOE_SCALE_RATIO, 0}, share = {MOE_SCALE_SHARE, 0.5}, change = {MOE_SCALE_CHANGE, 0.2};
	const struct { const struct moe_scale *s; double value, chance, place; } rows[] = {
		{&ratio, 0.125, 0.125, 0.5}, {&ratio, 0.5, 0.125, 1}, {&ratio, 0.03125, 0.125, 0}, {&ratio, 0, 0.125, 0}, {&ratio, 0.25, 0.125, 0.75}, {&ratio, 0.9, 0.1, 1},
		{&ratio, 0.1, 0, 1}, {&share, 0.25, NAN, 0.5}, {&share, 2, NAN, 1}, {&change, 0, NAN, 0.5}, {&change, -0.2, NAN, 0}, {&change, 0.1, NAN, 0.75},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(fabs(moe_scale_place(rows[i].s, rows[i].value, rows[i].chance) - rows[i].place) < 1e-12);
}

static void test_values_as_text(void **state)
{
	static const struct { double value; enum moe_unit unit; bool fine; const char *want; } rows[] = {
		{0.125, MOE_UNIT_SHARE, false, "12"}, {0.001, MOE_UNIT_SHARE, false, "<1"}, {0, MOE_UNIT_SHARE, false, "0"}, {1, MOE_UNIT_SHARE, false, "100"},
		{0.0156, MOE_UNIT_SHARE, true, "1.6"}, {0.0001, MOE_UNIT_SHARE, true, "<.1"}, {0.125, MOE_UNIT_SHARE, true, "12"}, {0.031, MOE_UNIT_POINTS, false, "+3"},
		{-0.5, MOE_UNIT_POINTS, false, "-50"}, {0.001, MOE_UNIT_POINTS, false, "0"}, {NAN, MOE_UNIT_SHARE, false, ""},
	};
	char text[8];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(moe_field_text(&(struct moe_fields){.unit = rows[i].unit, .fine = rows[i].fine}, rows[i].value, text), rows[i].want);
}

/* ---- figures of known sums ---- */

enum { T = 8, L = 2, E = 4, K = 2 };

/* Token t has experts t and t + 1 (mod 4) in layer 0, and always 0 and 1 in layer 1; the even tokens are patches. */
static void block_of(struct moe_trace_block *b, uint16_t expert[L][T][K], float weight[L][T][K])
{
	static int32_t token[T], position[T], image[T], patch[T];
	static uint8_t modality[T];

	for (int t = 0; t < T; t++) {
		token[t] = 10 + t;
		position[t] = t;
		modality[t] = t % 2 == 0;
		image[t] = t % 2 ? -1 : 0;
		patch[t] = t % 2 ? -1 : t / 2;
		expert[0][t][0] = (uint16_t)(t % 4);
		expert[0][t][1] = (uint16_t)((t + 1) % 4);
		expert[1][t][0] = 0;
		expert[1][t][1] = 1;
		for (int l = 0; l < L; l++) {
			weight[l][t][0] = 0.75f;
			weight[l][t][1] = 0.25f;
		}
	}
	*b = (struct moe_trace_block){.choice = "token", .rows = T, .axes = 1, .token = token, .position = position, .image = image, .patch = patch,
				      .modality = modality, .expert = &expert[0][0][0], .weight = &weight[0][0][0]};
}

static size_t layer_numbers[L] = {3, 5};
static const struct moe_trace_info info = {.layer = layer_numbers, .n_layers = L, .experts = E, .k = K, .detail = MOE_TRACE_WEIGHTS, .renormalise = true};

static void sums_of(struct moe_routing_set *s)
{
	uint16_t expert[L][T][K];
	float weight[L][T][K];
	struct moe_trace_block b;
	struct moe_diag d = {0};

	*s = (struct moe_routing_set){.tables = MOE_ROUTING_TOGETHER | MOE_ROUTING_NEXT, .last = SIZE_MAX};
	block_of(&b, expert, weight);
	expect_ok(&d, moe_routing_set_add(s, &info, &b, &d));
}

/* Even routing is at the chance level everywhere: white. */
static void test_load(void **state)
{
	struct moe_routing_set s;
	struct moe_figure f;
	struct moe_diag d = {0};

	(void)state;
	sums_of(&s);
	expect_ok(&d, moe_plot_load(&f, &s.kind[0], &d));
	assert_int_equal(f.n_facets, 3);
	assert_string_equal(f.facet[0].name, "all");
	assert_string_equal(f.facet[0].about, "8 tokens");
	for (size_t e = 0; e < E; e++) {
		const struct moe_fields *g = &f.facet[0].fields;
		assert_true(g->value[e * L] == 0.25 && g->chance[e * L] == 0.25 && g->count[e * L] == 4);
		assert_true(moe_field_place(&f, g, e * L) == 0.5);
		assert_true(g->value[e * L + 1] == (e < 2 ? 0.5 : 0));
	}
	assert_string_equal(f.facet[1].fields.column[1], "5");
	moe_figure_free(&f);
	moe_routing_set_free(&s);
}

static void test_coactivation(void **state)
{
	struct moe_routing_set s;
	struct moe_figure f;
	struct moe_diag d = {0};

	(void)state;
	sums_of(&s);
	expect_ok(&d, moe_plot_coactivation(&f, &s.kind[0], MOE_ALL_MODALITIES, &d));
	for (size_t i = 0; i < E; i++)
		for (size_t j = 0; j < E; j++) {
			double v = f.facet[0].fields.value[i * E + j], w = f.facet[1].fields.value[i * E + j];
			assert_true(i == j ? isnan(v) : v == ((i + 1) % 4 == j || (j + 1) % 4 == i ? 0.5 : 0));
			assert_true(i == j || i > 1 ? isnan(w) : w == (j < 2));
		}
	moe_figure_free(&f);
	moe_routing_set_free(&s);
}

static void test_flow(void **state)
{
	struct moe_routing_set s;
	struct moe_figure f;
	struct moe_diag d = {0};

	(void)state;
	sums_of(&s);
	expect_ok(&d, moe_plot_flow(&f, &s.kind[0], MOE_ALL_MODALITIES, &d));
	assert_int_equal(f.n_facets, 3);
	for (size_t i = 0; i < E; i++) {
		const struct moe_flow_facet *g = &f.facet[0].flow;
		assert_true(g->tokens == 8 && g->node[i] == 2 && g->node[E + i] == (i < 2 ? 4 : 0));
		for (size_t j = 0; j < E; j++)
			assert_true(g->link[i * E + j] == (j < 2 ? 1 : 0));
	}
	moe_figure_free(&f);
	s.kind[0].n_layers = 1;
	expect_fail(&d, moe_plot_flow(&f, &s.kind[0], MOE_ALL_MODALITIES, &d), MOE_EUSAGE, "two layers");
	moe_figure_free(&f);
	s.kind[0].n_layers = 2;
	moe_routing_set_free(&s);
}

static void tokens_of(struct moe_tokens *t)
{
	uint16_t expert[L][T][K];
	float weight[L][T][K];
	struct moe_trace_block b;
	struct moe_diag d = {0};

	block_of(&b, expert, weight);
	expect_ok(&d, moe_tokens_add(t, &info, &b, &d));
	b.start = T;
	b.step = 1;
	expect_ok(&d, moe_tokens_add(t, &info, &b, &d));
}

static void test_tokens(void **state)
{
	struct moe_tokens t = {.last = SIZE_MAX, .most = 11}, one = {.first = 4, .last = 6};
	struct moe_chosen c;

	(void)state;
	tokens_of(&t);
	assert_true(t.n == 11 && t.left_out == 5 && t.n_layers == 2 && t.made[7] == 0 && t.made[8] == 1 && t.token[9] == 11);
	c = moe_tokens_chosen(&t, 0, 9);
	assert_true(c.expert[0] == 1 && c.expert[1] == 2 && c.weight[0] == 0.75f);
	moe_tokens_free(&t);
	tokens_of(&one);
	assert_true(one.n == 16 && one.n_layers == 1 && one.layer[0].number == 5);
	c = moe_tokens_chosen(&one, 0, 9);
	assert_true(c.expert[0] == 0 && c.expert[1] == 1);
	moe_tokens_free(&one);
}

/* Without a tokenizer: numbers of tokens; a patch is a word of its own when others stand between. */
static void test_text_and_mixtures(void **state)
{
	struct moe_tokens t = {.last = SIZE_MAX};
	struct moe_figure f;
	struct moe_diag d = {0};
	struct moe_mixture m;
	const struct moe_text_facet *x;

	(void)state;
	tokens_of(&t);
	t.image[1] = t.image[3] = 0;    /* a run of four patches, and tokens behind it */
	expect_ok(&d, moe_plot_text(&f, &t, NULL, NULL, &d));
	x = &f.facet[0].text;
	assert_true(x->word[0].patches && x->word[0].n == 5 && !x->word[1].patches && x->word[1].token == 5);
	assert_string_equal(x->word[1].text, "15");
	moe_mixture_of(&m, x, &x->word[1], 0);
	assert_true(m.n == 2 && m.part[0].expert == 1 && m.part[0].share == 0.75 && m.part[1].expert == 2);
	moe_mixture_of(&m, x, &x->word[0], 0);  /* tokens 0 to 4: experts 0 and 1, 1 and 2, 2 and 3, 3 and 0, 0 and 1 */
	assert_true(m.n == 4 && m.part[0].expert == 0 && fabs(m.part[0].share - (0.75 + 0.75 + 0.25) / 5) < 1e-12);
	assert_true(m.part[1].expert == 1 && fabs(m.part[1].share - (0.25 + 0.75 + 0.25) / 5) < 1e-12);
	moe_figure_free(&f);
	moe_tokens_free(&t);
}

/* ---- what pens and terminals write ---- */

static char *svg_of(const struct moe_figure *f)
{
	struct moe_diag d = {0};
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	expect_ok(&d, moe_figures_svg(out, f, 1, &d));
	fclose(out);
	return text;
}

static void test_svg_escapes(void **state)
{
	struct moe_figure f;
	struct moe_facet *facet;
	struct moe_diag d = {0};
	char *text;

	(void)state;
	moe_figure_init(&f, "x");
	f.title = "<b>&\"\001\xff";
	f.about = f.reading = "";
	expect_ok(&d, moe_figure_add(&f, &facet, MOE_FACET_LINES, "a<b", &d));
	facet->lines = (struct moe_line_facet){.x_name = "x", .y_name = "y", .chance_name = "", .chance = NAN};
	text = svg_of(&f);
	assert_non_null(strstr(text, "&lt;b&gt;&amp;&quot;\xef\xbf\xbd\xef\xbf\xbd"));
	assert_non_null(strstr(text, "a&lt;b"));
	assert_null(strstr(text, "<b>"));
	assert_null(strstr(text, "\001"));
	free(text);
	moe_figure_free(&f);
}

static void test_terminal(void **state)
{
	struct moe_routing_set s;
	struct moe_figure f;
	struct moe_diag d = {0};
	struct moe_term t = {.width = 80};
	char *text;
	size_t n;

	(void)state;
	sums_of(&s);
	expect_ok(&d, moe_plot_load(&f, &s.kind[0], &d));
	t.f = open_memstream(&text, &n);
	expect_ok(&d, moe_figure_term(&t, &f, &d));
	fclose(t.f);
	assert_non_null(strstr(text, "all  8 tokens     text  4 tokens    image  4 tokens\n"
				     "       layer             layer             layer\n"
				     "expert   3   5    expert   3   5    expert   3   5\n"
				     "     0  25  50         0  25  50         0  25  50\n"
				     "     1  25  50         1  25  50         1  25  50\n"
				     "     2  25   0         2  25   0         2  25   0\n"
				     "     3  25   0         3  25   0         3  25   0\n"));
	free(text);
	moe_figure_free(&f);
	moe_routing_set_free(&s);
}

/* Figures of other columns do not stand in one table. */
static void test_tables(void **state)
{
	struct moe_routing_set s;
	struct moe_figure f[2];
	struct moe_diag d = {0};
	FILE *null = fopen("/dev/null", "w");

	(void)state;
	sums_of(&s);
	expect_ok(&d, moe_plot_load(&f[0], &s.kind[0], &d));
	expect_ok(&d, moe_plot_flow(&f[1], &s.kind[0], MOE_ALL_MODALITIES, &d));
	expect_ok(&d, moe_figures_tsv(null, f, 1, &d));
	expect_ok(&d, moe_figures_json(null, f, 2, &d));
	expect_fail(&d, moe_figures_tsv(null, f, 2, &d), MOE_EUSAGE, "load and flow");
	fclose(null);
	moe_figure_free(&f[0]);
	moe_figure_free(&f[1]);
	moe_routing_set_free(&s);
}

/* A sheet that no picture can be is refused before memory is taken. */
static void test_too_large(void **state)
{
	struct moe_pen *p;
	struct moe_diag d = {0};

	(void)state;
	expect_fail(&d, moe_pen_pixels_new(&p, 1e9, 10, 1, &d), MOE_ENOMEM, "SVG has no limit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_colours_differ), cmocka_unit_test(test_numbers_are_legible), cmocka_unit_test(test_colours_256),
		cmocka_unit_test(test_scales), cmocka_unit_test(test_values_as_text), cmocka_unit_test(test_load), cmocka_unit_test(test_coactivation),
		cmocka_unit_test(test_flow), cmocka_unit_test(test_tokens), cmocka_unit_test(test_text_and_mixtures), cmocka_unit_test(test_svg_escapes),
		cmocka_unit_test(test_terminal), cmocka_unit_test(test_tables), cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
