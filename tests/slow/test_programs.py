"Two thousand random programs of all operations of the engine, against the complex step"
from hypothesis import given, settings

from test_edges import check_program, programs


@settings(max_examples=2000, deadline=None)
@given(programs)
def test_random_programs_agree_with_the_complex_step(program): check_program(program)
