from innomaint_pipeline_tests.customers import customers

__all__ = ["customers"]
