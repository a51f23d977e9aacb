"""Table 8: boxes become counts per patient and levels, which are set against a laboratory's report.

counts (fields and counts per patient), operating_points (which detections count), agreement (of
levels and of counts), review (of discrepant samples), figures.
"""
